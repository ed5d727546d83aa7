"""The number a run is judged by: one aggregation over the points of one metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from augury.spec import Aggregation, Goal


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric; `value` may be NaN or infinite, `time` is in seconds since 1970."""

    index: int
    value: float
    time: float


def aggregate(points: Iterable[Point], aggregation: Aggregation) -> float | None:
    """Return the objective of a run from its points in order of arrival, or None.

    `last` is the value at the highest index, ties by arrival; when it is not finite the run has
    no objective. `min`, `max` and `avg` use the finite points only.
    """
    if aggregation == "last":
        last: Point | None = None
        for point in points:
            if last is None or point.index >= last.index:
                last = point
        return last.value if last is not None and math.isfinite(last.value) else None
    finite = [point.value for point in points if math.isfinite(point.value)]
    if not finite:
        return None
    if aggregation == "min":
        return min(finite)
    if aggregation == "max":
        return max(finite)
    return _mean(finite)


def _mean(values: Sequence[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        # The sum is beyond the floats, the mean is not: exactly, with integers.
        ratios = [value.as_integer_ratio() for value in values]
        below = max(denominator for _, denominator in ratios)
        total = sum(numerator * (below // denominator) for numerator, denominator in ratios)
        return total / (below * len(values))


def is_better(value: float, other: float, goal: Goal) -> bool:
    """Tell whether `value` is strictly better than `other`."""
    return value > other if goal == "maximize" else value < other


def best_index(objectives: Sequence[float | None], goal: Goal) -> int | None:
    """Return the position of the best objective (the earliest of equals), or None when there is none."""
    best: int | None = None
    for position, value in enumerate(objectives):
        if value is None:
            continue
        held = objectives[best] if best is not None else None
        if held is None or is_better(value, held, goal):
            best = position
    return best
