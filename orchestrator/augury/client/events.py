"""The event stream of a server: parsing, resuming, and a doorbell that coalesces it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from augury.errors import AuguryError, UnavailableError

if TYPE_CHECKING:
    from augury.client.transport import Transport

#: Seconds of silence after which a stream is taken for dead; the server says something every 15 s.
SILENCE_SECONDS = 40.0
#: Pauses in seconds between attempts to reconnect; the last one repeats.
PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
#: Seconds between two readings when nothing rings: a ring may be lost, never the end of a search.
PERIOD_SECONDS = 3.0
#: Seconds between two readings at least, however often it rings.
GAP_SECONDS = 0.1
#: Seconds for which a follower puts up with a server that does not answer.
PATIENCE_SECONDS = 60.0

T = TypeVar("T")


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
    """Yield events for ever (None for each keep-alive and each break), resuming after the last one seen.

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
                # Hints (`log`, `metrics`) are not stored and carry no id.
                if event is not None and event["id"] is not None:
                    after = event["id"]
                yield event
        except UnavailableError:
            pass
        yield None
        time.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        failures += 1


class Bell(Protocol):
    """Something to wait on: a `Doorbell`, or the silence that stands in for one."""

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; whether it rang."""
        ...


class Silence:
    """A bell that never rings, for callers that read once."""

    def wait(self, seconds: float) -> bool:
        """Wait `seconds`; false."""
        time.sleep(seconds)
        return False

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Doorbell:
    """Says that something happened to a search or a run; what it was is for the caller to read.

    A thread reads the stream, so that a thousand events a second wake the caller once, and a caller can
    stop waiting at any moment.
    """

    def __init__(self, transport: Transport, search: int | None = None, run: int | None = None) -> None:
        self._rung = threading.Event()
        self._closed = False
        self._error: AuguryError | None = None
        events = follow(transport.sibling(), search, run, None)
        self._thread = threading.Thread(
            target=self._listen, args=(events,), daemon=True, name="augury-events"
        )
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
            for _ in events:
                if self._closed:
                    return
                # Also at a sign of life without an event: something may have happened before the
                # connection stood, and the first sign comes as soon as it does.
                self._rung.set()
        except AuguryError as error:
            self._error = error
            self._rung.set()


def readings(
    read: Callable[[], T],
    bell: Bell,
    *,
    seconds: float | None = None,
    period: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Yield `read()` now, after each ring of `bell`, and every `period` (`PERIOD_SECONDS`) without one.

    Ends after `seconds`, with a last reading. An instance that restarts meanwhile is waited for.

    Raises:
        UnavailableError: nothing answered for `PATIENCE_SECONDS` (or all of `seconds`).
    """
    period = PERIOD_SECONDS if period is None else period
    began = answered = clock()
    while True:
        try:
            value = read()
        except UnavailableError:
            patience = PATIENCE_SECONDS if seconds is None else min(PATIENCE_SECONDS, seconds)
            if clock() - answered >= patience:
                raise
        else:
            answered = clock()
            yield value
        left = None if seconds is None else began + seconds - clock()
        if left is not None and left <= 0:
            return
        asleep = clock()
        bell.wait(period if left is None else min(period, left))
        time.sleep(max(0.0, min(GAP_SECONDS - (clock() - asleep), GAP_SECONDS if left is None else left)))
