"""The way of one attempt's files to the store of files: tried until it worked, was refused or unwanted.

Imported when an attempt first has files: zip and HTTP take a while to load.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from augury_workers import blobs, protocol
from augury_workers.blobs import Door, RefusedError, UnreachableError
from augury_workers.outputs import AbortedError, DamagedError, Files, find, zip_chunks
from augury_workers.secret import SecretFile
from augury_workers.spool import Identity

PATIENCE_SECONDS = 1500.0
"""How long a store of files that does not answer is asked again, where the lease sets no other limit."""

LONGEST_PAUSE_SECONDS = 10.0
ABORT_SECONDS = 2.0
"""How long an aborted call is waited for; what is left of it ends by itself."""


def open_door(order: Mapping[str, Any], identity: Identity, secret: SecretFile, url: str | None) -> Door:
    """Return the door to the store of files that the attempt of `order` has; raises `RefusedError`."""
    origin = protocol.report_origin(identity.run, identity.token, identity.nonce)
    return blobs.open_door(order.get("blobs"), url, origin, next(iter(secret.keys().values())))


class Saving:
    """Brings back what lies below `folder`: `find`, then `run`; `abort` by whoever ends it earlier.

    A store of files that does not answer is asked again for `patience` seconds.
    """

    def __init__(
        self, folder: str, identity: Identity, open_door: Callable[[], Door], patience: float
    ) -> None:
        self._folder = folder
        self._files = Files()
        self._name = f"outputs/{identity.run}.{identity.token}.zip"
        self._open_door = open_door
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._aborted: asyncio.Future[str] = self._loop.create_future()
        self._door: Door | None = None

    async def find(self) -> bool:
        """Look for files; tell whether there are any."""
        self._files = await asyncio.to_thread(find, self._folder)
        return bool(self._files.found)

    def report(self, now: float) -> dict[str, Any]:
        """Return the report that the attempt saves from now (seconds since 1970) on."""
        files = self._files
        return {"k": "state", "state": "saving", "files": len(files.found), "bytes": files.size, "time": now}

    @property
    def left_out(self) -> str:
        """A phrase about what does not come back in any case; empty when all does."""
        return self._files.left_out()

    def abort(self, why: str) -> None:
        """End it now, with nothing kept; the first reason stays."""
        if not self._aborted.done():
            self._aborted.set_result(why)
            if self._door is not None:
                self._door.abort()

    async def run(self) -> str:
        """Return "" when the files are stored, else a sentence about their loss."""
        why = await self._stored()
        count, size = len(self._files.found), self._files.size
        files = "the file" if count == 1 else f"the {count} files"
        return f"{files} it wrote ({size:,} bytes) did not come back: {why}" if why else ""

    async def _stored(self) -> str:
        failing_since: float | None = None
        pause = 0.25
        while not self._aborted.done():
            storing = asyncio.ensure_future(asyncio.to_thread(self._store))
            await asyncio.wait([storing, self._aborted], return_when=asyncio.FIRST_COMPLETED)
            if not storing.done():
                await asyncio.wait([storing], timeout=ABORT_SECONDS)
                storing.add_done_callback(_forget)
                break
            try:
                return storing.result()
            except UnreachableError as error:
                now = self._loop.time()
                failing_since = now if failing_since is None else failing_since
                if now - failing_since > self._patience:
                    return f"{error}; given up after {self._patience / 60:.0f} minutes"
            await asyncio.wait([self._aborted], timeout=pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        return self._aborted.result()

    def _store(self) -> str:
        """In a thread: store the files; returns why that can never be done, "" when it is done."""
        try:
            self._door = self._open_door()
            if self._aborted.done():
                raise AbortedError
            self._door.store(self._name, zip_chunks(self._files, lambda: not self._aborted.done()))
        except AbortedError:
            return self._aborted.result()
        except (RefusedError, DamagedError) as error:
            return str(error)
        except OSError as error:
            return f"they cannot be written: {error}"
        return ""


def _forget(storing: asyncio.Future[str]) -> None:
    """Take the result of an abandoned call, which nobody asks for."""
    with contextlib.suppress(asyncio.CancelledError, UnreachableError):
        storing.result()
