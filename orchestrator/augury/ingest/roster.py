"""The live workers, as their hellos tell; how many slots serve each queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from augury.ingest.messages import Hello
from augury_workers.protocol import HELLO_LOST_SECONDS


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker that is there; `seen` is on the server's monotonic clock, in seconds."""

    hello: Hello
    seen: float


class Roster:
    """Who is there. `on_change(queue, slots)` is told when the slots of a queue change."""

    def __init__(self, on_change: Callable[[str, int], None]) -> None:
        self._workers: dict[str, Presence] = {}
        self._slots: dict[str, int] = {}
        self._on_change = on_change
        self._lock = threading.Lock()

    def knows(self, worker: str) -> bool:
        """Tell whether a worker of that name is there."""
        with self._lock:
            return worker in self._workers

    def hello(self, hello: Hello, now: float) -> None:
        """Take a hello in; a worker without slots is leaving."""
        with self._lock:
            if hello.slots > 0:
                self._workers[hello.worker] = Presence(hello, now)
            else:
                self._workers.pop(hello.worker, None)
            self._recount()

    def expire(self, now: float) -> None:
        """Drop the workers that have not been heard of for 30 s."""
        with self._lock:
            for name, presence in list(self._workers.items()):
                if now - presence.seen > HELLO_LOST_SECONDS:
                    del self._workers[name]
            self._recount()

    def workers(self) -> list[Presence]:
        """Return the live workers, by name."""
        with self._lock:
            return [self._workers[name] for name in sorted(self._workers)]

    def slots(self, queue: str) -> int:
        """Return the number of live slots of a queue."""
        return self._slots.get(queue, 0)

    def _recount(self) -> None:
        slots: dict[str, int] = dict.fromkeys(self._slots, 0)
        for presence in self._workers.values():
            for queue in presence.hello.queues:
                slots[queue] = slots.get(queue, 0) + presence.hello.slots
        for queue, count in slots.items():
            if self._slots.get(queue) != count:
                self._slots[queue] = count
                self._on_change(queue, count)
