"""What the controller knows, and the events and actions by which it talks to the world.

All of it can be rebuilt from the store: after a restart nothing but the doorbells on the broker is
unknown, and those grant nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from augury.run import RunState, SearchState, Want

SPARE_DOORBELLS = 2
"""Doorbells that may wait on a queue beyond one for each live slot.

Small, since a search submitted later starts behind them; not zero, since a slot that gets free must
find its next run without asking the server.
"""

RUNS_WITHOUT_METRIC = 3
"""So many runs without the named metric, and none with it, pause a search."""


@dataclass
class SearchProgress:
    """One open search as the controller sees it."""

    id: int
    queue: str
    adaptive: bool
    """The sampler learns: runs are created one by one as results land."""
    limit: int | None
    """At most so many runs that are neither final nor waiting without a doorbell."""
    num_runs: int
    """The search ends when so many runs are final."""
    metric: str | None
    created: int = 0
    final: int = 0
    waiting: deque[int] = field(default_factory=deque)
    """Queued runs without a doorbell, in order."""
    rung: set[int] = field(default_factory=set)
    """Queued runs whose doorbell is on the broker."""
    held: set[int] = field(default_factory=set)
    """Runs that an attempt holds."""
    tokens: dict[int, int] = field(default_factory=dict)
    with_metric: int = 0
    without_metric: int = 0
    asking: bool = False
    exhausted: bool = False
    paused: bool = False
    want: Want = ""
    served: int = 0
    """When a doorbell last rang for it, as a growing number: the round-robin."""

    @property
    def in_flight(self) -> int:
        """Runs with a doorbell or a worker."""
        return len(self.rung) + len(self.held)

    @property
    def open_runs(self) -> int:
        """Runs that are not final."""
        return len(self.waiting) + self.in_flight


@dataclass
class QueueProgress:
    """One queue: its live slots and the searches with runs that wait for a doorbell."""

    slots: int = 0
    rung: int = 0
    searches: dict[int, SearchProgress] = field(default_factory=dict)

    @property
    def window(self) -> int:
        """At most so many unclaimed doorbells."""
        return self.slots + SPARE_DOORBELLS


@dataclass
class State:
    """Everything the controller knows."""

    searches: dict[int, SearchProgress] = field(default_factory=dict)
    queues: dict[str, QueueProgress] = field(default_factory=dict)
    search_of: dict[int, int] = field(default_factory=dict)
    """Run id -> search id, of runs that are not final."""
    turn: int = 0

    def queue(self, name: str) -> QueueProgress:
        """Return the queue of that name, new if need be."""
        return self.queues.setdefault(name, QueueProgress())


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SearchOpened:
    """A search was submitted, or read from the store at start."""

    search: SearchProgress


@dataclass(frozen=True, slots=True)
class RunsCreated:
    """Queued runs, as (id, token), were stored for a search."""

    search_id: int
    runs: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The sampler has no further point for a search."""

    search_id: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt holds a run now, under this token."""

    run_id: int
    token: int


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run became final; `has_metric` is None where that says nothing (no metric asked for, stopped)."""

    run_id: int
    state: RunState
    has_metric: bool | None = None


@dataclass(frozen=True, slots=True)
class Requeued:
    """A lost run is queued again under a new token."""

    run_id: int
    token: int


@dataclass(frozen=True, slots=True)
class TokensRenewed:
    """The doorbells of these queued runs (id -> token) were lost; the runs wait for new ones."""

    tokens: dict[int, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search shall stop or be killed: it gets no further runs."""

    search_id: int
    want: Want


@dataclass(frozen=True, slots=True)
class Resumed:
    """A paused search goes on."""

    search_id: int


@dataclass(frozen=True, slots=True)
class SlotsChanged:
    """So many slots serve a queue now."""

    queue: str
    slots: int


Event: TypeAlias = (
    SearchOpened
    | RunsCreated
    | Exhausted
    | Claimed
    | RunEnded
    | Requeued
    | TokensRenewed
    | Wanted
    | Resumed
    | SlotsChanged
)


# --- actions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the sampler for the next run of a search and store it."""

    search_id: int


@dataclass(frozen=True, slots=True)
class Ring:
    """Publish a doorbell."""

    run_id: int
    token: int
    queue: str


@dataclass(frozen=True, slots=True)
class Finish:
    """End a search: all its runs are final."""

    search_id: int
    state: SearchState
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause a search: its runs end without the metric it is judged by."""

    search_id: int


Action: TypeAlias = Ask | Ring | Finish | Pause
