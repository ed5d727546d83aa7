"""What a run gives of itself, turned into reports: its output, its metrics file, patterns in its output."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from augury_workers.metrics import Numbering, Patterns, Point, Tail, reports
from augury_workers.output import Log, Output
from augury_workers.relay import Relay

EARLY_BYTES = 256 * 1024
"""So much waiting output does not wait for the next tick."""


class Gather:
    """Output and metric points of one attempt on their way into its relay."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, relay: Relay, metrics_path: str, patterns: Sequence[tuple[str, str]]
    ) -> None:
        self._loop = loop
        self._relay = relay
        self._log = Log()
        self._numbering = Numbering()
        self._tail = Tail(metrics_path)
        self._patterns = Patterns(patterns) if patterns else None
        self.output = Output(loop, self._take)
        self.on_much: Callable[[], None] = lambda: None
        """Called when much output waits to be sent."""

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
            self._add(self._patterns.end())
        while True:
            if self._relay.full and not await room():
                return
            self._add(self._tail.read(last=True))
            if self._tail.exhausted:
                break
        if self._tail.bad:
            lines = "1 line is" if self._tail.bad == 1 else f"{self._tail.bad} lines are"
            self.note(f"{lines} no metric point and left out; the first: {self._tail.first_bad}")
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
            self._add(self._patterns.feed(data))
        if self._log.waiting >= EARLY_BYTES and not self._relay.full:
            self._flush()
            self.on_much()

    def _add(self, points: list[Point]) -> None:
        if points:
            for body in reports(points, self._numbering, time.time()):
                self._relay.add(body)

    def _flush(self) -> None:
        self._log.flush(self._relay.add, self._relay_full)

    def _relay_full(self) -> bool:
        return self._relay.full
