"""A run's standard output and error, one pipe: drained whatever happens, relayed as log reports.

What cannot be sent soon waits in memory up to `WAITING_BYTES`; beyond that the oldest waiting bytes are
dropped and counted, so that the end of the output, where the error stands, is always kept.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from augury_workers import protocol

READ_BYTES = 64 * 1024
WAITING_BYTES = protocol.UNACKED_BYTES_LIMIT
FLUSH_SECONDS = 0.2
"""Output is reported this soon, or as soon as a report is full."""


class Log:
    """Output bytes on their way into reports, with their offsets in the attempt's whole output."""

    def __init__(self, waiting_limit: int = WAITING_BYTES) -> None:
        self._chunks: deque[bytes] = deque()
        self._limit = waiting_limit
        self._line_open = False
        self.waiting = 0
        """Bytes not yet in a report."""
        self.total = 0
        """Bytes of output so far, dropped ones included."""
        self.dropped = 0
        self.since = 0.0
        """When the oldest waiting byte came."""

    def add(self, data: bytes, now: float) -> None:
        """Take bytes of output."""
        if not self._chunks:
            self.since = now
        self._chunks.append(data)
        self.waiting += len(data)
        self.total += len(data)
        self._line_open = not data.endswith(b"\n")
        while self.waiting > self._limit and len(self._chunks) > 1:
            gone = len(self._chunks.popleft())
            self.waiting -= gone
            self.dropped += gone

    def note(self, text: str, now: float) -> None:
        """Put a line of ours into the output."""
        start = "\n" if self._line_open else ""
        self.add(f"{start}[augury] {text}\n".encode(), now)

    def due(self, now: float) -> bool:
        """True when what waits should be reported now."""
        full = self.waiting >= protocol.LOG_BYTES_PER_REPORT
        return full or (self.waiting > 0 and now - self.since >= FLUSH_SECONDS)

    def flush(self, add: Callable[[dict[str, Any], bytes], None], full: Callable[[], bool]) -> None:
        """Give what waits to `add` as reports of up to 64 KiB while the relay is not `full`."""
        while self._chunks and not full():
            offset = self.total - self.waiting
            data = self._take(protocol.LOG_BYTES_PER_REPORT)
            add({"k": "log", "o": offset}, data)

    def _take(self, limit: int) -> bytes:
        taken: list[bytes] = []
        size = 0
        while self._chunks and size < limit:
            chunk = self._chunks.popleft()
            room = limit - size
            if len(chunk) > room:
                self._chunks.appendleft(chunk[room:])
                chunk = chunk[:room]
            taken.append(chunk)
            size += len(chunk)
        self.waiting -= size
        return b"".join(taken)


class Output:
    """The reading end of the pipe, in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, consume: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._consume = consume
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(self._reader, False)
        self.ended: asyncio.Future[None] = loop.create_future()
        """Done when nobody holds the writing end any more."""

    def start(self) -> None:
        """Give up our copy of the writing end and read in the background."""
        self.close_writer()
        self._loop.add_reader(self._reader, self._read_once)

    def close_writer(self) -> None:
        """Close our copy of the writing end."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def drain(self) -> None:
        """Read what is there now, up to 1 MiB."""
        for _ in range(16):
            if self.ended.done() or not self._read_once():
                return

    def close(self) -> None:
        """Stop reading, whoever still holds the other end."""
        self.close_writer()
        if self._reader >= 0:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
        if not self.ended.done():
            self.ended.set_result(None)

    def _read_once(self) -> bool:
        try:
            data = os.read(self._reader, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._consume(data)
        return True
