# ruff: noqa: PTH108, PTH123
# Paths are plain strings here, as the system calls take them.
"""The files of a run before it starts: its snapshot, fetched, checked and unpacked once per search.

Imported when an order first asks for it: most workers of a local instance never need HTTP and archives.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import hmac
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from augury_workers import trees
from augury_workers.blobs import Door, RefusedError, UnreachableError
from augury_workers.environment import CouldNotStartError
from augury_workers.trees import Tree
from augury_workers.unpack import UnpackError, unpack

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 5.0
"""Between two attempts to reach the store of files."""

TELL_SECONDS = 10.0
"""After so long a silence of the store of files the worker says so, and once a minute from then on."""


class BuildFailedError(CouldNotStartError):
    """The files of a run cannot be made ready; the text is one sentence for the user."""

    state = "build_failed"


class AbortedError(Exception):
    """The preparation was not waited for any more."""


class Preparation:
    """Makes the files of one attempt ready, in a thread; `abort` may be called at any time."""

    def __init__(self, order: Mapping[str, Any], folder: str, open_door: Callable[[], Door]) -> None:
        self._run = int(order["run"])
        self._digest = str(order["prepare"]["snapshot"])
        search = order.get("search")
        # Two counters: search 59 and run 59 are not one.
        owner = f"run-{self._run}" if search is None else f"search-{search}"
        self._name = f"{owner}-{self._digest[:16]}"
        self._folder = folder
        self._open_door = open_door
        self._door: Door | None = None
        self._aborted = threading.Event()
        self._silent_since = 0.0
        self._tell_at = 0.0

    async def tree(self) -> Tree:
        """Return the unpacked files, locked until they are released.

        Raises:
            BuildFailedError: they cannot be had, now or later.
            AbortedError: `abort` was called.
        """
        return await asyncio.to_thread(self._get)

    def abort(self) -> None:
        """End the preparation soon."""
        self._aborted.set()
        if self._door is not None:
            self._door.abort()

    def _get(self) -> Tree:
        try:
            self._check()
            self._door = self._open_door()
            trees.sweep(self._folder)
            return trees.get(self._folder, self._name, self._make, self._wait)
        except RefusedError as error:
            raise BuildFailedError(f"the snapshot cannot be had: {error}") from error
        except UnpackError as error:
            raise BuildFailedError(f"the snapshot cannot be unpacked: {error}") from error
        except OSError as error:
            raise BuildFailedError(_disk_sentence(error, self._folder)) from error

    def _make(self, folder: str) -> None:
        archive = f"{folder}.tar.gz{trees.UNFINISHED}"
        try:
            self._fetch(archive)
            with open(archive, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not hmac.compare_digest(digest, self._digest):
                raise BuildFailedError(f"the snapshot that came is another: its SHA-256 is {digest}")
            unpack(archive, folder, self._check)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(archive)

    def _fetch(self, target: str) -> None:
        assert self._door is not None
        pause = FIRST_PAUSE_SECONDS
        self._silent_since = time.monotonic()
        self._tell_at = self._silent_since + TELL_SECONDS
        while True:
            try:
                self._door.fetch(f"snapshots/{self._digest}.tar.gz", target)
                return
            except UnreachableError as error:
                self._tell(error)
                self._wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _tell(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._tell_at and not self._aborted.is_set():
            self._tell_at = now + 60.0
            text = f"augury worker: run {self._run} waits for its snapshot: {error}; trying on"
            print(text, file=sys.stderr, flush=True)

    def _wait(self, seconds: float) -> None:
        self._aborted.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._aborted.is_set():
            raise AbortedError


def _disk_sentence(error: OSError, folder: str) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the snapshot does not fit on the worker's disk: {folder} is full"
    return f"the worker cannot unpack the snapshot: {error}"
