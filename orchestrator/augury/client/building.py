"""From the keywords of the Python API to a `SearchSpec`, in the old product's words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from augury.errors import UsageError
from augury.grammar.parameters import check_parameters
from augury.grammar.template import check, check_values, command_from_words
from augury.spec import (
    AGGREGATIONS,
    GOALS,
    GRACE_SECONDS,
    MAX_RUNS,
    Aggregation,
    Command,
    Goal,
    Kind,
    ParameterSpec,
    RangeSpec,
    SearchSpec,
    Value,
    ValueSpec,
    number_of_runs,
)

T = TypeVar("T")

#: What a parameter of the Python API may be: a spec, or a plain list of values.
ParameterLike: TypeAlias = ParameterSpec | Sequence[Value]

#: Keywords of the old product that Augury does not have yet.
UNBUILT = (
    "apt_packages", "attached_resources", "auto_resume", "commit_label", "conda_file", "distributed",
    "docker_image", "github_ref", "github_url", "idempotent", "pip_packages", "project", "provider",
    "requirements_file", "stop_conditions", "tensorboard_directory", "workflow_id",
)  # fmt: skip

#: Keywords of every new run or search, besides its command.
KNOWN = (
    "cwd", "description", "env", "envvars", "goal", "grace", "labels", "lost_after", "machine_type",
    "max_runs", "metric", "metric_agg", "metric_regex", "num_runs", "parallel_runs", "retries", "seed",
    "snapshot",     "timeout",
)  # fmt: skip


def submitters_directory() -> str:
    """Return the current directory; raises `UsageError` when it has been deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        raise UsageError("the current directory no longer exists: change to one that does") from None


def submitters_environment(local: bool) -> dict[str, str] | None:
    """Return this shell's variables for the local instance, None for a remote one."""
    return dict(os.environ) if local else None


def submitters_umask(local: bool) -> int | None:
    """Return this process's file mode mask for the local instance, None for a remote one."""
    if not local:
        return None
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    return mask


def parameter_of(name: str, value: ParameterLike) -> ParameterSpec:
    """Return the spec of one parameter; raises `UsageError` naming it when it is none."""
    if isinstance(value, ValueSpec | RangeSpec):
        return value
    try:
        return ValueSpec(value)  # type: ignore[arg-type]  # it makes a tuple of any list
    except UsageError as error:
        raise UsageError(f"parameter '{name}': {error}") from None


def command_of(command: str | Sequence[str]) -> Command:
    """Return the template: a string is a shell line, a list of words is executed without a shell."""
    if isinstance(command, str):
        return command_from_words([command])
    words = tuple(command)
    if not words:
        raise UsageError("the command is empty")
    return Command(argv=words)


def build(
    kind: Kind,
    command: str | Sequence[str],
    params: Mapping[str, ParameterLike],
    keywords: Mapping[str, Any],
    local: bool,
) -> SearchSpec:
    """Return the request of a new search or run, checked as far as it can be without a server.

    Raises:
        UsageError: an unknown keyword, a bad parameter, or a template that does not fit them.
    """
    for name in keywords:
        if name in UNBUILT:
            raise UsageError(f"the keyword '{name}' of the old product is not built yet")
        if name not in KNOWN:
            raise UsageError(f"unknown keyword '{name}': use one of {', '.join(KNOWN)}")
    space = {name: parameter_of(name, value) for name, value in params.items()}
    template = command_of(command)
    check_parameters(kind, space)
    check(template, list(space))
    check_values(template, space)
    agg: Aggregation = _one_of("metric_agg", keywords.get("metric_agg") or "last", AGGREGATIONS)
    goal: Goal = _one_of("goal", keywords.get("goal") or "maximize", GOALS)
    spec = SearchSpec(
        kind=kind,
        command=template,
        space=space,
        num_runs=keywords.get("num_runs"),
        parallel_runs=keywords.get("parallel_runs"),
        metric=keywords.get("metric"),
        metric_agg=agg,
        goal=goal,
        seed=keywords.get("seed"),
        machine_type=keywords.get("machine_type"),
        cwd=str(keywords.get("cwd") or submitters_directory()),
        environment=submitters_environment(local),
        umask=submitters_umask(local),
        env={**(keywords.get("envvars") or {}), **(keywords.get("env") or {})},
        metric_regex=tuple((keywords.get("metric_regex") or {}).items()),
        labels=tuple(keywords.get("labels") or ()),
        description=keywords.get("description") or "",
        max_runs=keywords.get("max_runs") or MAX_RUNS,
        lost_after=keywords.get("lost_after"),
        retries=keywords.get("retries"),
        timeout=None if keywords.get("timeout") is None else keywords["timeout"] * 60,
        grace=GRACE_SECONDS if keywords.get("grace") is None else keywords["grace"],
    )
    number_of_runs(spec)
    return spec


def _one_of(keyword: str, value: Any, allowed: Sequence[T]) -> T:
    if value not in allowed:
        raise UsageError(f"{keyword} is {value!r}: use one of {', '.join(map(str, allowed))}")
    return allowed[list(allowed).index(value)]
