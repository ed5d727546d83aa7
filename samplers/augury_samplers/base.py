"""What goes into a sampler and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from augury_samplers.space import Space, Value

Memo: TypeAlias = dict[str, Any] | None
"""What a sampler wants to be handed back next time: JSON of at most 4 KB, or None."""

MEMO_BYTES = 4096
"""Largest memo, as compact JSON."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A run that has ended: its values, and its objective, which is always to be maximised.

    The objective is None when the run failed or sent no metric; one that is not finite counts as None.
    """

    values: Mapping[str, Value]
    objective: float | None

    @property
    def succeeded(self) -> bool:
        """Whether there is a finite objective."""
        return self.objective is not None and math.isfinite(self.objective)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Values for one new run, and in one word where they come from (`grid`, `random`, `start`, `model`)."""

    values: Mapping[str, Value]
    source: str


class Sampler(Protocol):
    """Chooses values for new runs. Holds settings only: `suggest` is a pure function."""

    @property
    def adaptive(self) -> bool:
        """Whether the suggestions depend on observations; the others may be asked for all at once."""
        ...

    def size(self, space: Space) -> int | None:
        """Return how many suggestions `space` can ever give; None when there is no limit.

        Raises:
            ValueError: this sampler cannot search `space`; the text names the parameter.
        """
        ...

    def suggest(
        self,
        space: Space,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Value]],
        seed: int,
        index: int,
        memo: Memo,
    ) -> tuple[Suggestion | None, Memo]:
        """Return the values of run number `index`, and the memo for the next call.

        The answer depends on the arguments alone, none of which is changed: asked again, also by another
        process, a sampler says the same.

        Args:
            space: the parameters; observations and pending have a value for each of them.
            observations: the runs that have ended, in the order in which they landed.
            pending: the values of the runs in flight.
            seed: any int; another seed gives another search.
            index: number of the run to be created, counted from 0.
            memo: what the previous call returned, or None.

        Returns:
            The suggestion, or None when the space is exhausted; and the new memo.

        Raises:
            ValueError: this sampler cannot search `space`.
        """
        ...


def key_of(space: Space, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
    """Return what tells points apart: the values in the order of the parameters."""
    return tuple(values.get(name) for name in space.names)
