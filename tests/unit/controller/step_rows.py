"""What the store of the simulation of `step` holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from timeline import Violation

from augury.run import FINAL_STATES


@dataclass
class Run:
    """A row of `runs`."""

    id: int
    search: Search
    position: int
    state: str = "queued"
    token: int = 1
    nonce: int = 0
    want: str = ""
    lost: int = 0
    has_metric: bool | None = None
    landed: int = 0

    @property
    def final(self) -> bool:
        return self.state in FINAL_STATES


@dataclass
class Search:
    """A row of `searches` with its runs."""

    id: int
    queue: str
    adaptive: bool
    num_runs: int
    limit: int | None
    metric: bool
    space: int
    """The sampler gives so many runs and no more."""
    silent: bool
    """None of its runs sends the metric."""
    state: str = "running"
    want: str = ""
    forgiven: int = 0
    """Landings that count no more towards a pause: the user resumed it after them."""
    runs: list[Run] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.state in ("running", "paused")

    @property
    def open_runs(self) -> list[Run]:
        return [run for run in self.runs if not run.final]


@dataclass
class Slot:
    """A place on a worker: at most one attempt, held by its (run, token, nonce)."""

    queue: str
    attempt: tuple[int, int, int] | None = None
    granted: bool = False
    epoch: int = 0
    """Grows when it dies or gets free: what was planned for its former attempt is void."""


def metrics(search: Search) -> tuple[int, int]:
    """Return how many runs had their metric, and how many had not since the user last resumed."""
    given = sum(run.has_metric is True for run in search.runs)
    return given, sum(run.has_metric is False and run.landed > search.forgiven for run in search.runs)


def require(holds: bool, message: str) -> None:
    """Raise `Violation` unless it holds."""
    if not holds:
        raise Violation(message)
