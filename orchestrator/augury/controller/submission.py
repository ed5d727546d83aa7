"""From a request to a search: checked as a whole, its first runs chosen, stored in one transaction."""

from __future__ import annotations

import difflib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from augury.controller.sampling import Sampling
from augury.errors import UsageError
from augury.grammar import template
from augury.grammar.parameters import check_parameters
from augury.spec import (
    AGGREGATIONS,
    GOALS,
    MAX_GRACE,
    MAX_RETRIES,
    MIN_LOST_AFTER,
    SearchSpec,
    ValueSpec,
    number_of_runs,
)
from augury.store.records import Assignment

_SEED_BITS = 31


@dataclass(frozen=True)
class Plan:
    """A checked request with the runs that exist from the beginning."""

    spec: SearchSpec
    num_runs: int
    assignments: Sequence[Assignment]
    memo: dict[str, Any] | None
    sampling: Sampling | None
    notices: Sequence[str]

    def spec_text(self) -> str:
        """Return the request as it is stored: without the submitter's environment."""
        return json.dumps(replace(self.spec, environment=None).to_json())


def plan(spec: SearchSpec) -> Plan:
    """Check a request and choose its first runs: all of a grid or a random search, the first of a bayesian.

    Raises:
        UsageError: the request is wrong; the text names the option, the piece and the fix.
    """
    _check(spec)
    total = number_of_runs(spec)
    spec = replace(spec, num_runs=total)
    notices = [
        *template.check(spec.command, list(spec.space)),
        *template.check_values(spec.command, spec.space),
    ]
    if spec.kind == "run":
        return Plan(spec, 1, [_only_assignment(spec)], None, None, notices)
    if spec.seed is None:
        spec = replace(spec, seed=random.SystemRandom().getrandbits(_SEED_BITS))
    sampling = _sampling(spec)
    first = min(total, spec.parallel_runs or total) if sampling.adaptive else total
    assignments: list[Assignment] = []
    pending: list[dict[str, Any]] = []
    memo: dict[str, Any] | None = None
    for index in range(first):
        assignment, memo = sampling.suggest((), pending, index, memo)
        if assignment is None:
            break
        assignments.append(assignment)
        if sampling.adaptive:
            pending.append(sampling.values_of(assignment))
    return Plan(spec, total, assignments, memo, sampling, notices)


def _only_assignment(spec: SearchSpec) -> Assignment:
    """Return the values of a single run: each parameter has one."""
    given = {name: one for name, one in spec.space.items() if isinstance(one, ValueSpec)}
    values = {name: parameter.values[0] for name, parameter in given.items()}
    return Assignment(values, {name: parameter.texts[0] for name, parameter in given.items()})


def _sampling(spec: SearchSpec) -> Sampling:
    try:
        sampling = Sampling(spec)
        sampling.sampler.size(sampling.space)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return sampling


def _check(spec: SearchSpec) -> None:
    if spec.kind not in ("run", "grid", "random", "bayesian"):
        raise UsageError(f"unknown kind of search '{spec.kind}': use grid, random or bayesian")
    check_parameters(spec.kind, spec.space)
    _check_word("--metric-agg", spec.metric_agg, AGGREGATIONS)
    _check_word("--goal", spec.goal, GOALS)
    if spec.num_runs is not None and spec.num_runs < 1:
        raise UsageError(f"--num-runs must be at least 1, not {spec.num_runs}")
    if spec.parallel_runs is not None and spec.parallel_runs < 1:
        raise UsageError(f"--parallel-runs must be at least 1, not {spec.parallel_runs}")
    if spec.lost_after is not None and not MIN_LOST_AFTER <= spec.lost_after < math.inf:
        raise UsageError(f"--lost-after must be at least {MIN_LOST_AFTER:g} seconds, not {spec.lost_after:g}")
    if spec.retries is not None and not 0 <= spec.retries <= MAX_RETRIES:
        raise UsageError(f"--retries must be 0 to {MAX_RETRIES}, not {spec.retries}")
    if spec.timeout is not None and not 0 < spec.timeout < math.inf:
        raise UsageError(f"--timeout must be above 0, not {spec.timeout / 60:g} minutes")
    if not 0 <= spec.grace <= MAX_GRACE:
        raise UsageError(f"--grace must be 0 to {MAX_GRACE:g} seconds, not {spec.grace:g}")
    if spec.kind == "bayesian":
        for option, value in (("--parallel-runs", spec.parallel_runs), ("--metric", spec.metric)):
            if value is None:
                raise UsageError(f"a bayesian search needs {option}")


def _check_word(option: str, word: str, allowed: Sequence[str]) -> None:
    if word not in allowed:
        near = difflib.get_close_matches(word, allowed, 1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise UsageError(f"{option} {word}: use one of {', '.join(allowed)}{hint}")
