"""New points and output, told to whoever follows: coalesced until the reader looks, and never stored."""

from __future__ import annotations

import threading

Told = dict[int, tuple[int, set[str]]]
"""Run id -> (search id, names of metrics; "" for output)."""


class Hints:
    """Collects what ingest has taken in; a reader takes what came since it looked last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: dict[int, Told] = {}
        self._next = 0

    def tell(self, told: Told) -> None:
        """Take in what is new."""
        with self._lock:
            for waiting in self._readers.values():
                for run_id, (search_id, names) in told.items():
                    waiting.setdefault(run_id, (search_id, set()))[1].update(names)

    def join(self) -> int:
        """Add a reader and return its number."""
        with self._lock:
            self._next += 1
            self._readers[self._next] = {}
            return self._next

    def leave(self, reader: int) -> None:
        """Remove a reader."""
        with self._lock:
            self._readers.pop(reader, None)

    def take(self, reader: int) -> Told:
        """Return what is new for a reader, and forget it."""
        with self._lock:
            told = self._readers.get(reader, {})
            if told:
                self._readers[reader] = {}
            return told
