"""Virtual time and seeded chance: what both simulators run on. Nothing here ever sleeps."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

SEED_VARIABLE = "AUGURY_SIM_SEED"
"""Set to a number, it makes the simulations run that seed alone."""

COUNT_VARIABLE = "AUGURY_SIM_SEEDS"
"""Multiplies the number of seeds (a night's run)."""


class Violation(AssertionError):
    """Something that must never happen has happened."""


class Crash(BaseException):
    """The server process is gone, here and now. Not an `Exception`: nothing of the server may catch it."""


def seeds(first: int, count: int) -> Sequence[int]:
    """Return the seeds to simulate: the given ones, or what the environment asks for."""
    asked = os.environ.get(SEED_VARIABLE)
    if asked:
        return [int(asked)]
    return range(first, first + count * int(os.environ.get(COUNT_VARIABLE, "1")))


class Timeline:
    """Calls in order of virtual time; equal times in order of planning."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._planned = 0

    def after(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan a call `seconds` from now."""
        self._planned += 1
        heapq.heappush(self._heap, (self.now + seconds, self._planned, call, arguments))

    def chance(self, probability: float) -> bool:
        """Tell whether something of this probability happens now."""
        return self.random.random() < probability

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Run until `done` says so; raise `Violation` when that takes longer than `until`."""
        while not done():
            if not self._heap:
                raise Violation("nothing is planned any more, and yet it has not ended")
            self.now, _, call, arguments = heapq.heappop(self._heap)
            if self.now > until:
                raise Violation(f"not ended after {until:.0f} virtual seconds")
            call(*arguments)
