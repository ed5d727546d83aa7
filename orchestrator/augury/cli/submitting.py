"""From the options of a submit to a `SearchSpec`, checked before anything is contacted or started."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace

from augury.cli import losses, saved
from augury.cli.options import NEEDED, GridOptions, RunOptions, SampledOptions
from augury.client.building import submitters_directory, submitters_environment, submitters_umask
from augury.client.connection import remote_address
from augury.errors import UsageError
from augury.grammar.pairs import parse_env, parse_metric_regex
from augury.grammar.parameters import parse_parameters
from augury.grammar.template import check, check_values, command_from_words
from augury.spec import (
    GRACE_SECONDS,
    MAX_GRACE,
    MAX_RUNS,
    Command,
    Kind,
    ParameterSpec,
    SearchSpec,
    number_of_runs,
)


def search_spec(kind: Kind, options: GridOptions) -> tuple[SearchSpec, list[str]]:
    """Return the request of a search, and notices for the user.

    Raises:
        UsageError: an option is missing or wrong, or the command does not fit the parameters.
    """
    options = saved.filled(options)
    _check_needed(kind, options)
    space = parse_parameters(kind, options.param or (), options.json_param or (), options.choice or ())
    template, notices = _template(options.command, space)
    sampled = options.num_runs if isinstance(options, SampledOptions) else None
    if options.metric is not None:
        _check_named("--metric", options.metric)
    if (warning := losses.warning(options.metric, options.goal)) and options.goal is None:
        notices.append(warning)
    spec = SearchSpec(
        kind=kind,
        command=template,
        space=space,
        num_runs=sampled,
        parallel_runs=options.parallel_runs,
        metric=options.metric,
        metric_agg=options.metric_agg or "last",
        goal=options.goal or "maximize",
        seed=options.seed,
        max_runs=options.max_runs or MAX_RUNS,
    )
    spec = _with_settings(spec, options)
    number_of_runs(spec)
    saved.save(options)
    return spec, notices


def run_spec(options: RunOptions) -> tuple[SearchSpec, list[str]]:
    """Return the request of a single run, and notices for the user; raises as `search_spec`."""
    options = saved.filled(options)
    space = parse_parameters("run", options.param or ())
    template, notices = _template(options.command, space)
    spec = _with_settings(SearchSpec(kind="run", command=template, space=space), options)
    saved.save(options)
    return spec, notices


def _check_needed(kind: Kind, options: GridOptions) -> None:
    missing = [name for name in NEEDED.get(kind, ()) if getattr(options, name) is None]
    if not (options.param or options.json_param or options.choice):
        missing.append("param")
    if missing:
        flags = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise UsageError(f"missing {flags}: a {kind} search needs {'it' if len(missing) == 1 else 'them'}")


def _template(words: Sequence[str] | None, space: dict[str, ParameterSpec]) -> tuple[Command, list[str]]:
    if not words:
        raise UsageError(
            "missing the command: write it last, after --, as in: -- python train.py --rate :rate:"
        )
    template = command_from_words(words)
    return template, [*check(template, list(space)), *check_values(template, space)]


def _with_settings(spec: SearchSpec, options: GridOptions | RunOptions) -> SearchSpec:
    """Return `spec` with what a run and the runs of a search have in common."""
    if options.machine_type is not None:
        _check_named("--machine-type", options.machine_type)
    for label in options.label or ():
        _check_named("--label", label)
    local = remote_address(os.environ) is None
    return replace(
        spec,
        machine_type=options.machine_type,
        cwd=submitters_directory(),
        environment=submitters_environment(local),
        umask=submitters_umask(local),
        env=dict(parse_env(text) for text in options.env or ()),
        metric_regex=tuple(parse_metric_regex(text) for text in options.metric_regex or ()),
        labels=tuple(options.label or ()),
        description=options.description or "",
        lost_after=options.lost_after,
        retries=options.retries,
        timeout=_seconds(options.timeout),
        grace=_grace(options.grace),
    )


def _seconds(minutes: float | None) -> float | None:
    if minutes is not None and not 0 < minutes < math.inf:
        raise UsageError(f"--timeout is {minutes:g}: give minutes above 0")
    return None if minutes is None else minutes * 60


def _grace(seconds: float | None) -> float:
    if seconds is not None and not 0 <= seconds <= MAX_GRACE:
        raise UsageError(f"--grace is {seconds:g}: give 0 to {MAX_GRACE:g} seconds")
    return GRACE_SECONDS if seconds is None else seconds


def _check_named(option: str, name: str) -> None:
    if not name.strip():
        raise UsageError(f"{option} is empty: name one, or leave the option out")
