"""The number a run is judged by."""

import math

import pytest

from augury.objective import Point, aggregate, best_index, is_better

NAN, INF = math.nan, math.inf


def series(*values: float) -> list[Point]:
    return [Point(index, value, 0.0) for index, value in enumerate(values)]


@pytest.mark.parametrize(("aggregation", "wanted"), [("min", 1.0), ("max", 3.0), ("avg", 2.0), ("last", 2.0)])
def test_each_aggregation(aggregation, wanted) -> None:
    assert aggregate(series(3.0, 1.0, 2.0), aggregation) == wanted


def test_last_is_the_highest_index_and_of_equals_the_latest() -> None:
    points = [Point(5, 1.0, 0.0), Point(7, 2.0, 0.0), Point(6, 3.0, 0.0), Point(7, 4.0, 0.0)]
    assert aggregate(points, "last") == 4.0


def test_a_last_value_that_is_not_finite_is_no_objective() -> None:
    assert aggregate(series(1.0, NAN), "last") is None
    assert aggregate(series(1.0, INF), "last") is None


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_the_others_use_the_finite_points(aggregation) -> None:
    assert aggregate(series(2.0, NAN, INF, -INF), aggregation) == 2.0
    assert aggregate(series(NAN, INF), aggregation) is None


@pytest.mark.parametrize("aggregation", ["min", "max", "avg", "last"])
def test_without_points_there_is_no_objective(aggregation) -> None:
    assert aggregate([], aggregation) is None


def test_the_best_is_by_goal_and_the_earliest_of_equals() -> None:
    objectives = [None, 2.0, 5.0, 1.0, 5.0]
    assert best_index(objectives, "maximize") == 2
    assert best_index(objectives, "minimize") == 3
    assert best_index([None, None], "maximize") is None
    assert is_better(1.0, 2.0, "minimize")
    assert not is_better(2.0, 2.0, "maximize")
