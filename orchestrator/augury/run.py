"""The life of a run and of a search: their states, causes, and what may follow what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

RunState = Literal[
    "queued",
    "building",
    "running",
    "saving",
    "complete",
    "failed",
    "build_failed",
    "mount_failed",
    "stopped",
    "killed",
    "interrupted",
]
SearchState = Literal["running", "paused", "finished", "stopped", "killed"]
Want = Literal["", "stop", "kill"]

OPEN_STATES: tuple[RunState, ...] = ("queued", "building", "running", "saving")
HELD_STATES: tuple[RunState, ...] = ("building", "running", "saving")
"""States in which an attempt holds the run."""
FINAL_STATES: tuple[RunState, ...] = (
    "complete",
    "failed",
    "build_failed",
    "mount_failed",
    "stopped",
    "killed",
    "interrupted",
)
OPEN_SEARCH_STATES: tuple[SearchState, ...] = ("running", "paused")

MAX_LOST_ATTEMPTS = 2
"""A run whose worker was lost is queued again so many times unless its search says otherwise.

After that it is `interrupted`.
"""


WEAKER: Mapping[Want, Sequence[Want]] = {"": (), "stop": ("",), "kill": ("", "stop")}
"""The wishes that each wish replaces."""


def stronger(want: Want, other: Want) -> Want:
    """Return the stronger of two wishes: none < stop < kill."""
    order: tuple[Want, ...] = ("", "stop", "kill")
    return max(want, other, key=order.index)


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended, as its worker or the reaper says it."""

    state: RunState
    cause: str
    exit_code: int | None = None
    detail: str = ""
