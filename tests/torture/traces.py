"""What the trainings themselves have written down: when which attempt was alive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

GAP_SECONDS = 1.0
"""Between two stamps of a process that was frozen, not merely slow."""

FREEZE_SECONDS = 0.5
"""So long may an attempt be alive beside its successor after the whole tree was frozen."""

Segment = tuple[float, float]


@dataclass(frozen=True)
class AttemptTrace:
    """One attempt: the times in which it was alive, without those in which it stood still."""

    run: int
    name: str
    segments: Sequence[Segment]

    @property
    def was_frozen(self) -> bool:
        """Whether it stood still in between."""
        return len(self.segments) > 1


@dataclass(frozen=True)
class Overlap:
    """Two attempts of a run that were alive at once."""

    run: int
    names: tuple[str, str]
    seconds: float
    after_freeze: bool

    @property
    def allowed(self) -> bool:
        """Whether the promise has room for it."""
        return self.after_freeze and self.seconds <= FREEZE_SECONDS


def read(folder: Path) -> list[AttemptTrace]:
    """Return all attempts of which there are traces."""
    stamps: dict[tuple[int, str], list[float]] = defaultdict(list)
    for file in folder.iterdir():
        for line in file.read_text().splitlines():
            run, _, stamp, _ = line.split()
            stamps[int(run), file.name.rpartition(".")[0]].append(float(stamp))
    return [AttemptTrace(run, name, segments(found)) for (run, name), found in sorted(stamps.items())]


def segments(stamps: Iterable[float]) -> list[Segment]:
    """Return the stretches in which stamps follow each other closely."""
    found: list[Segment] = []
    for stamp in sorted(stamps):
        if found and stamp - found[-1][1] <= GAP_SECONDS:
            found[-1] = (found[-1][0], stamp)
        else:
            found.append((stamp, stamp))
    return found


def overlaps(traces: Sequence[AttemptTrace]) -> list[Overlap]:
    """Return all pairs of attempts of a run that were alive at once."""
    by_run: dict[int, list[AttemptTrace]] = defaultdict(list)
    for trace in traces:
        by_run[trace.run].append(trace)
    found = []
    for run, members in by_run.items():
        for place, one in enumerate(members):
            for other in members[place + 1 :]:
                seconds = sum(_common(a, b) for a in one.segments for b in other.segments)
                if seconds > 0:
                    frozen = one.was_frozen or other.was_frozen
                    found.append(Overlap(run, (one.name, other.name), seconds, frozen))
    return found


def _common(one: Segment, other: Segment) -> float:
    """Return how long two stretches share; one stamp alone stands for a moment."""
    begin, end = max(one[0], other[0]), min(one[1], other[1])
    return max(end - begin, 0.001) if begin <= end else 0.0


def most_at_once(traces: Sequence[AttemptTrace]) -> int:
    """Return how many runs were alive at one instant at most.

    What a frozen attempt still does in the moment after it was let go counts for `overlaps`, not here.
    """
    changes: list[tuple[float, int]] = []
    for trace in traces:
        for place, (begin, end) in enumerate(trace.segments):
            if place == 0 or end - begin > FREEZE_SECONDS:
                changes += [(begin, 1), (end, -1)]
    alive = most = 0
    for _, change in sorted(changes):
        alive += change
        most = max(most, alive)
    return most
