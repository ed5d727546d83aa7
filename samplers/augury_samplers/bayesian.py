"""Bayesian search: each suggestion learns from all runs that have ended and knows those in flight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from augury_samplers.base import Memo, Observation, Suggestion, key_of
from augury_samplers.draws import bits
from augury_samplers.sobol import scrambled
from augury_samplers.space import Space, Value

LONGEST_START = 8
FIRST_KAPPA = 2.0
LAST_KAPPA = 0.5
USUAL_KAPPA = 1.25
"""Without a known number of runs."""
_START_TRIES = 64


class BayesianSampler:
    """Gaussian-process search by the upper confidence bound.

    The first few runs, min(d + 2, 8) but at most a third of `num_runs`, are a scrambled Sobol sequence. From
    then on, as soon as one run has succeeded, each suggestion is the point of the highest mean + kappa
    deviation of the fitted model, kappa falling from 2.0 to 0.5 as runs end. Pending runs count as if they
    had given what the model expects, failed ones as the worst objective seen. No point is suggested
    twice; when a finite space has no point left, the answer is None.

    Args:
        num_runs: how many runs the search will have; None when that is not known.
    """

    adaptive = True

    def __init__(self, num_runs: int | None = None) -> None:
        if num_runs is not None and num_runs < 1:
            raise ValueError(f"num_runs must be at least 1, not {num_runs}")
        self.num_runs = num_runs

    def size(self, space: Space) -> int | None:
        """Return the number of points of a finite space, else None."""
        return space.size

    def suggest(
        self,
        space: Space,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Value]],
        seed: int,
        index: int,
        memo: Memo,
    ) -> tuple[Suggestion | None, Memo]:
        """Return the point to try next; see `Sampler.suggest` and the class."""
        visited = {key_of(space, observation.values) for observation in observations}
        visited.update(key_of(space, values) for values in pending)
        source = "start"
        points = _start_points(space, seed, index)
        if index >= self.start_runs(space) and any(observation.succeeded for observation in observations):
            # Imported here: numpy and scipy take half a second, and the first runs do not need them.
            from augury_samplers.model import propose

            kappa = self.kappa(len(observations))
            points, memo = propose(space, observations, pending, seed, index, kappa, memo)
            source = "model"
        for values in points:
            if key_of(space, values) not in visited:
                return Suggestion(values, source), memo
        rest = _unvisited(space, visited, bits(seed, "rest", index))
        return (None if rest is None else Suggestion(rest, source)), memo

    def start_runs(self, space: Space) -> int:
        """Return how many runs, counted by their index, come from the Sobol sequence."""
        usual = min(len(space) + 2, LONGEST_START)
        return usual if self.num_runs is None else max(1, min(usual, self.num_runs // 3))

    def kappa(self, done: int) -> float:
        """Return how many deviations are added to the mean after `done` runs have ended."""
        if self.num_runs is None:
            return USUAL_KAPPA
        return FIRST_KAPPA + (LAST_KAPPA - FIRST_KAPPA) * min(1.0, done / self.num_runs)


def _start_points(space: Space, seed: int, index: int) -> Iterator[dict[str, Value]]:
    for number in range(index, index + _START_TRIES):
        yield space.from_unit(scrambled(seed, number, len(space)))


def _unvisited(space: Space, visited: set[tuple[Value | None, ...]], offset: int) -> dict[str, Value] | None:
    """Return the first point not in `visited` of a finite space, from number `offset` on, around its end.

    None when there is none, or when the space is not finite: then `visited` holds every point that all the
    candidates stand for, which takes a range of a few neighbouring floats.
    """
    size = space.size or 0
    for step in range(min(size, len(visited) + 1)):
        values = space.at((offset + step) % size)
        if key_of(space, values) not in visited:
            return values
    return None
