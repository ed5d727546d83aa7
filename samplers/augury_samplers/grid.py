"""Grid search: every combination once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augury_samplers.base import Memo, Observation, Suggestion
from augury_samplers.space import Range, Space, Value


class GridSampler:
    """Gives the combinations of the values in order, the last parameter running fastest.

    Combinations are decoded from their index and never materialised.

    Args:
        num_runs: taken because every sampler is; the grid has as many runs as it has combinations.
    """

    adaptive = False

    def __init__(self, num_runs: int | None = None) -> None:
        self.num_runs = num_runs

    def size(self, space: Space) -> int:
        """Return the number of combinations; raises `ValueError` when a parameter is a range."""
        size = 1
        for parameter in space.parameters:
            if isinstance(parameter, Range):
                raise ValueError(
                    f"a grid takes lists of values, but parameter '{parameter.name}' is a range: "
                    "list its values, or use random or bayesian"
                )
            size *= parameter.size
        return size

    def suggest(
        self,
        space: Space,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Value]],
        seed: int,
        index: int,
        memo: Memo,
    ) -> tuple[Suggestion | None, Memo]:
        """Return combination number `index`, or None past the last one; nothing else is looked at."""
        if index >= self.size(space):
            return None, memo
        return Suggestion(space.at(index), "grid"), memo
