"""What a run gives of itself, turned into reports: its output, its metrics file, patterns in its output."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from augury_workers.metrics import Numbering, Patterns, Point, Tail, reports
from augury_workers.output import Log, Output
from augury_workers.relay import Relay

EARLY_BYTES = 256 * 1024
"""So much waiting output does not wait for the next tick."""

FOUND_LIMIT = 100_000
"""Points found in output that wait while the relay is full; beyond it the oldest are dropped."""


class Gather:
    """Output and metric points of one attempt on their way into its relay."""

    def __init__(self, loop: asyncio.AbstractEventLoop, relay: Relay) -> None:
        self._loop = loop
        self._relay = relay
        self._log = Log()
        self._numbering = Numbering()
        self._tail = Tail("")
        self._patterns: Patterns | None = None
        self._found: deque[Point] = deque(maxlen=FOUND_LIMIT)
        self._lost_points = 0
        self.output = Output(loop, self._take)
        self.on_much: Callable[[], None] = lambda: None
        """Called when much output waits to be sent."""

    def start(self, metrics_path: str, patterns: Patterns | None) -> None:
        """Begin to read: the process has been started."""
        self._tail = Tail(metrics_path)
        self._patterns = patterns
        self.output.start()

    @property
    def log_bytes(self) -> int:
        """Bytes of output so far."""
        return self._log.total

    @property
    def dropped(self) -> int:
        """Bytes of output that are in no report."""
        return self._log.dropped

    def collect(self, *, everything: bool = False) -> None:
        """Turn new points and due output into reports as far as the relay takes them; called at each tick."""
        if everything:
            self.output.drain()
        self._add_found()
        while not self._relay.full:
            self._add(self._tail.read())
            if self._tail.exhausted:
                break
        if everything or self._log.due(self._loop.time()):
            self._flush()

    async def collect_rest(self, room: Callable[[], Awaitable[bool]]) -> None:
        """After the tree's end: report all that is left, waiting for `room` where the relay is full.

        Returns early when there will be no room.
        """
        if self._patterns is not None:
            self._keep(self._patterns.end())
        while True:
            if self._relay.full and not await room():
                return
            self._add_found()
            self._add(self._tail.read(last=True))
            if self._tail.exhausted:
                break
        if self._tail.bad:
            lines = "1 line is" if self._tail.bad == 1 else f"{self._tail.bad} lines are"
            self.note(f"{lines} no metric point and left out; the first: {self._tail.first_bad}")
        if self._lost_points:
            self.note(f"{self._lost_points} points found in the output were lost while the server was away")
        self._flush()
        while self._log.waiting:
            if not await room():
                return
            self._flush()

    def note(self, text: str) -> None:
        """Put a line of ours into the output."""
        self._log.note(text, self._loop.time())

    def close(self) -> None:
        """Close the files."""
        self.output.close()
        self._tail.close()

    def _take(self, data: bytes) -> None:
        self._log.add(data, self._loop.time())
        if self._patterns is not None:
            self._keep(self._patterns.feed(data))
        if self._log.waiting >= EARLY_BYTES and not self._relay.full:
            self._flush()
            self.on_much()

    def _keep(self, points: list[Point]) -> None:
        self._lost_points += max(0, len(self._found) + len(points) - FOUND_LIMIT)
        self._found.extend(points)

    def _add_found(self) -> None:
        if self._found and not self._relay.full:
            self._add(list(self._found))
            self._found.clear()

    def _add(self, points: list[Point]) -> None:
        if points:
            for body in reports(points, self._numbering, time.time()):
                self._relay.add(body)

    def _flush(self) -> None:
        self._log.flush(self._relay.add, self._relay_full)

    def _relay_full(self) -> bool:
        return self._relay.full
