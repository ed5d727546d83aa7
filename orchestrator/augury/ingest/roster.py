"""The workers, as their hellos tell; how many slots serve each queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from augury.ingest.admission import Refusal
from augury.ingest.messages import Hello
from augury_workers.protocol import HELLO_LOST_SECONDS

FORGET_SECONDS = 24 * 3600.0
"""How long a worker that is gone is still listed."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker that is or was there; `seen` is on the server's monotonic clock, in seconds."""

    hello: Hello
    seen: float
    refused: Refusal | None = None
    """Why it cannot work here: its slots do not count."""
    gone: Literal["", "ended", "silent"] = ""


class Roster:
    """Who is there. `on_change(queue, slots)` is told when the slots of a queue change.

    The slots of a drained worker, as of one that is refused, take nothing new and do not count.
    """

    def __init__(self, on_change: Callable[[str, int], None]) -> None:
        self._workers: dict[str, Presence] = {}
        self._drained: frozenset[str] = frozenset()
        self._slots: dict[str, int] = {}
        self._on_change = on_change
        self._lock = threading.Lock()

    def knows(self, worker: str) -> bool:
        """Tell whether a worker of that name is there and may work."""
        with self._lock:
            presence = self._workers.get(worker)
            return presence is not None and not presence.gone and presence.refused is None

    def hello(self, hello: Hello, now: float, refused: Refusal | None = None) -> None:
        """Take a hello in; a worker without slots is leaving."""
        with self._lock:
            if hello.slots > 0:
                self._workers[hello.worker] = Presence(hello, now, refused)
            elif (before := self._workers.get(hello.worker)) is not None:
                self._workers[hello.worker] = replace(before, seen=now, gone="ended")
            self._recount()

    def expire(self, now: float) -> None:
        """Count out the workers that have not been heard of for 30 s; forget them after a day."""
        with self._lock:
            for name, presence in list(self._workers.items()):
                if now - presence.seen > FORGET_SECONDS:
                    del self._workers[name]
                elif now - presence.seen > HELLO_LOST_SECONDS and not presence.gone:
                    self._workers[name] = replace(presence, gone="silent")
            self._recount()

    def drain(self, workers: frozenset[str]) -> None:
        """Count the slots of these workers out, those of all others in."""
        with self._lock:
            self._drained = workers
            self._recount()

    def workers(self) -> list[Presence]:
        """Return the live workers, by name."""
        return [presence for presence in self.everybody() if not presence.gone and presence.refused is None]

    def everybody(self) -> list[Presence]:
        """Return all workers, those that are gone or refused too, by name."""
        with self._lock:
            return [self._workers[name] for name in sorted(self._workers)]

    def slots(self, queue: str) -> int:
        """Return the number of live slots of a queue that take runs."""
        return self._slots.get(queue, 0)

    def _recount(self) -> None:
        slots: dict[str, int] = dict.fromkeys(self._slots, 0)
        for name, presence in self._workers.items():
            if presence.gone or presence.refused is not None or name in self._drained:
                continue
            for queue in presence.hello.queues:
                slots[queue] = slots.get(queue, 0) + presence.hello.slots
        for queue, count in slots.items():
            if self._slots.get(queue) != count:
                self._slots[queue] = count
                self._on_change(queue, count)
