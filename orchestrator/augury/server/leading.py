"""One of several servers leads: it serves a database, the others stand by until it is gone."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from augury.errors import RefusedError, UnavailableError
from augury.local.locks import try_lock
from augury.store.database import FAILURES, Store, location
from augury.store.lead import SessionLead

LOOK_SECONDS = 0.5
"""How often a leader looks whether it still is one; much less than `store.lead.SILENT_SECONDS`."""
_TRY_SECONDS = 0.25
_log = logging.getLogger(__name__)


class Lead(Protocol):
    """The right to serve one database."""

    def take(self) -> bool:
        """Take it unless another server has it."""

    def look(self, seconds: float) -> int | None:
        """Wait, and return the epoch of the store; None at once where the lead cannot be lost."""

    def close(self) -> None:
        """Give it up."""


class FileLead:
    """The right to serve a SQLite database: a locked file beside it, freed with the process."""

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".lock")
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take it unless another server has it; raises `UnavailableError` where no file can be made."""
        try:
            self._descriptor = try_lock(self._path)
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be made: {error.strerror}") from error
        return self._descriptor is not None

    def look(self, seconds: float) -> None:
        """Say at once that it cannot be lost."""

    def close(self) -> None:
        """Free the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def lead_of(database_url: str) -> Lead:
    """Return the lead of a database, not taken yet; raises `UsageError` for a URL that is none."""
    where = location(database_url)
    return FileLead(where) if isinstance(where, Path) else SessionLead(where)


def wait_to_lead(lead: Lead, say: Callable[[str], None]) -> bool:
    """Return as soon as this server leads, and whether it had to stand by for another; it `say`s so.

    A signal to end, while it stands by, ends the process with exit code 0.

    Raises:
        UnavailableError: the database does not answer at first. Later it is waited for.
    """
    try:
        if lead.take():
            return False
    except FAILURES as error:
        raise UnavailableError(f"the database cannot be opened: {_reason(error)}") from error
    say("another server leads; standing by")
    with _ending_politely():
        while True:
            time.sleep(_TRY_SECONDS)
            try:
                if lead.take():
                    say("the other server is gone; taking over")
                    return True
            except FAILURES as error:
                _log.warning("standing by, the database does not answer: %s", _reason(error))
                time.sleep(LOOK_SECONDS)


class Leading:
    """The thread that looks whether a server still leads, and ends the process when another one does."""

    def __init__(self, lead: Lead, store: Store) -> None:
        self._lead = lead
        self._store = store
        self._lost = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="leading", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and give the lead up; nothing may be written any more.

        Raises:
            RefusedError: it was lost, which is why the process ends.
        """
        self._stopping.set()
        self._thread.join()
        self._lead.close()
        if self._lost:
            raise RefusedError("another server leads now: start this one again to stand by")

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                epoch = self._lead.look(LOOK_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is unknown who leads
                _log.warning("the lock session is gone, no writes until it is back: %s", _reason(error))
                self._store.writer.hold(True)
                epoch = self._retake()
            if epoch is None:
                return
            if epoch != self._store.epoch:
                self._lost = True
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _retake(self) -> int | None:
        """Return the epoch once this server leads again, or another one has taken over meanwhile.

        The lock alone says nothing: the one who holds it may be this server's own session of before, which
        PostgreSQL has not ended yet.
        """
        while not self._stopping.wait(_TRY_SECONDS):
            try:
                leads = self._lead.take()
                epoch = self._lead.look(0)
            except Exception:  # noqa: BLE001 - the same; the next try may tell
                continue
            if leads and epoch == self._store.epoch:
                _log.warning("this server leads again")
                self._store.writer.hold(False)
            if leads or epoch != self._store.epoch:
                return epoch
        return None


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


@contextmanager
def _ending_politely() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, lambda *_: sys.exit(0)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
