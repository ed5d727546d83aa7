"""`--lost-after`, `--timeout`, `--grace`: what they may be, and what holds where a search says nothing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from augury.controller.submission import plan
from augury.dispatch.orders import patience
from augury.errors import UsageError
from augury.spec import MIN_LOST_AFTER, Command, SearchSpec, ValueSpec
from augury_workers.attempt import fence_seconds

SPEC = SearchSpec("grid", Command(argv=("t", ":a:")), {"a": ValueSpec((1, 2))})


@pytest.mark.parametrize("seconds", [0, -1, 5.9, float("nan"), float("inf")])
def test_too_short_a_time_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="--lost-after must be at least 6 seconds"):
        plan(replace(SPEC, lost_after=seconds))


@pytest.mark.parametrize("seconds", [0, -60, float("nan"), float("inf")])
def test_a_limit_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="--timeout must be above 0"):
        plan(replace(SPEC, timeout=seconds))


@pytest.mark.parametrize("seconds", [-1, 86_401, float("nan"), float("inf")])
def test_a_grace_out_of_bounds_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="--grace must be 0 to 86400 seconds"):
        plan(replace(SPEC, grace=seconds))


@pytest.mark.parametrize("times", [-1, 101])
def test_a_number_of_retries_out_of_bounds_is_refused(times: int) -> None:
    with pytest.raises(UsageError, match="--retries must be 0 to 100"):
        plan(replace(SPEC, retries=times))


@pytest.mark.parametrize("field", ["lost_after", "timeout", "grace"])
@pytest.mark.parametrize("given", ["60", True, [60]])
def test_what_is_no_number_is_refused(field: str, given: Any) -> None:
    with pytest.raises(UsageError, match=f"'{field}' must be a number of seconds"):
        SearchSpec.from_json({**SPEC.to_json(), field: given})


def test_the_time_of_the_search_goes_before_the_server_s() -> None:
    spec = plan(replace(SPEC, lost_after=8.5)).spec
    assert SearchSpec.from_json(spec.to_json()).lost_after == 8.5
    said: Any = SimpleNamespace(spec=spec)
    silent: Any = SimpleNamespace(spec=SPEC)
    assert patience(said, 1800.0) == 8.5
    assert patience(silent, 1800.0) == 1800.0
    assert patience(said, None) is None


def test_a_worker_has_two_seconds_at_least() -> None:
    assert fence_seconds(MIN_LOST_AFTER, 30) == pytest.approx(2.0)
