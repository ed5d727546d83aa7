"""Random search: independent draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augury_samplers.base import Memo, Observation, Suggestion
from augury_samplers.draws import uniform
from augury_samplers.space import Space, Value


class RandomSampler:
    """Draws every value on its own from its parameter's scaling.

    The value of a parameter in run i depends on the seed, i, the name of the parameter and its definition
    alone: it stays the same, to the last bit and on every machine, when other parameters come, go or move.
    Draws are independent, so a small space repeats itself and is never exhausted.

    Args:
        num_runs: taken because every sampler is; the draws do not depend on it.
    """

    adaptive = False

    def __init__(self, num_runs: int | None = None) -> None:
        self.num_runs = num_runs

    def size(self, space: Space) -> None:
        """Return None: there is always one more draw."""
        return None

    def suggest(
        self,
        space: Space,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Value]],
        seed: int,
        index: int,
        memo: Memo,
    ) -> tuple[Suggestion | None, Memo]:
        """Return draw number `index` of `seed`; nothing else is looked at."""
        point = [uniform(seed, "random", index, name) for name in space.names]
        return Suggestion(space.from_unit(point), "random"), memo
