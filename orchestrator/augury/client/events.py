"""The event stream of a server: parsing, resuming, and a doorbell that coalesces it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from augury.errors import AuguryError, UnavailableError

if TYPE_CHECKING:
    from augury.client.transport import Transport

#: Seconds of silence after which a stream is taken for dead; the server says something every 15 s.
SILENCE_SECONDS = 40.0
#: Pauses in seconds between attempts to reconnect; the last one repeats.
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)


def parse(lines: Iterable[str]) -> Iterator[dict[str, Any] | None]:
    """Yield the event of each block of lines, and None for each comment (a keep-alive)."""
    data: list[str] = []
    for line in lines:
        if line.startswith(":"):
            yield None
        elif line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data = []


def follow(transport: Transport, search: int | None, run: int | None, after: int | None) -> Iterator[Any]:
    """Yield events for ever (None for each keep-alive), resuming after the last one seen.

    `after` None starts with what happens from now on, 0 with the first event there is. A server that
    does not answer is tried again until it does.

    Raises:
        AuguryError: the server refuses (unknown id, wrong token).
    """
    failures = 0
    while True:
        query = {"search": search, "run": run, "after": after}
        try:
            for event in parse(transport.lines("/events", query, SILENCE_SECONDS)):
                failures = 0
                if event is not None:
                    after = event["id"]
                yield event
        except UnavailableError:
            yield None
        time.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        failures += 1


class Doorbell:
    """Says that something happened to a search or a run; what it was is for the caller to read.

    A thread reads the stream, so that a thousand events a second wake the caller once, and a caller can
    stop waiting at any moment.
    """

    def __init__(self, transport: Transport, search: int | None = None, run: int | None = None) -> None:
        self._rung = threading.Event()
        self._closed = False
        self._error: AuguryError | None = None
        events = follow(transport, search, run, None)
        self._thread = threading.Thread(target=self._listen, args=(events,), daemon=True, name="augury-events")
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until it rings, at most `seconds`; whether it rang.

        Raises:
            AuguryError: the server refuses to tell.
        """
        rang = self._rung.wait(max(0.0, seconds))
        self._rung.clear()
        if self._error is not None:
            raise self._error
        return rang

    def close(self) -> None:
        """Stop listening; the thread ends by itself with the next sign of life."""
        self._closed = True

    def __enter__(self) -> Doorbell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, events: Iterator[Any]) -> None:
        try:
            for event in events:
                if self._closed:
                    return
                if event is not None:
                    self._rung.set()
        except AuguryError as error:
            self._error = error
            self._rung.set()
