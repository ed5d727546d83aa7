"""The processes of a run: started with Popen, reaped by SIGCHLD, ended as a whole tree."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from augury_workers import platform

STUCK_SECONDS = 60.0
"""A process that SIGKILL does not remove for so long hangs in the kernel."""


class Reaper:
    """Collects every child of this process; as a subreaper it is the parent of all orphans of a run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[int, asyncio.Future[int]] = {}
        self._emptied: asyncio.Future[None] | None = None
        self.empty = True
        """True when no child is left, as of the last look."""
        loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def watch(self, pid: int) -> asyncio.Future[int]:
        """Return a future of the wait status of a child that was just started."""
        self.empty = False
        future: asyncio.Future[int] = self._loop.create_future()
        self._watched[pid] = future
        return future

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                if self._emptied is not None and not self._emptied.done():
                    self._emptied.set_result(None)
                return
            if pid == 0:
                return
            future = self._watched.pop(pid, None)
            if future is not None and not future.done():
                future.set_result(status)

    async def wait_empty(self, seconds: float) -> bool:
        """Wait until no child is left, at most `seconds`; return whether that is so."""
        self.reap()
        if self.empty:
            return True
        self._emptied = self._loop.create_future()
        await asyncio.wait([self._emptied], timeout=max(0.0, seconds))
        return self.empty


class Tree:
    """The processes of one run."""

    def __init__(self, reaper: Reaper, tag: str) -> None:
        self._reaper = reaper
        self._tag = tag
        self._leader: int | None = None
        self.exited: asyncio.Future[int] | None = None
        """Wait status of the main process."""

    def start(
        self, words: Sequence[str], cwd: str, environment: Mapping[str, str], output: int, umask: int | None
    ) -> asyncio.Future[int]:
        """Start the main process in a session of its own; returns the future of its wait status.

        `umask` is the file mode mask it gets; None leaves ours.

        Raises:
            OSError, ValueError: it could not be executed.
        """
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=-1 if umask is None else umask,
        )
        process.returncode = 0  # the reaper collects it, Popen must not
        self._leader = process.pid
        self.exited = self._reaper.watch(process.pid)
        return self.exited

    @property
    def pid(self) -> int | None:
        """The pid of the main process."""
        return self._leader

    @property
    def alive(self) -> bool:
        """True while the main process was not collected."""
        return self.exited is not None and not self.exited.done()

    def terminate(self) -> None:
        """Ask every process politely to end; stopped ones are woken so that they can."""
        for pid in platform.descendants(self._tag):
            platform.signal_process(pid, signal.SIGTERM)
            platform.signal_process(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill every process that is there now; those they start meanwhile need another call."""
        for pid in platform.descendants(self._tag):
            platform.signal_process(pid, signal.SIGKILL)

    def gone(self) -> bool:
        """True when no process of the run is left."""
        self._reaper.reap()
        return self._reaper.empty and (platform.LINUX or not platform.descendants(self._tag))

    async def wait_gone(self, seconds: float) -> bool:
        """Wait at most `seconds` for the tree to end by itself."""
        if platform.LINUX:
            return await self._reaper.wait_empty(seconds)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.gone() and loop.time() < end:
            await asyncio.sleep(0.05)
        return self.gone()

    async def kill_all(self, complain: Callable[[list[int]], None]) -> None:
        """Kill until nothing is left; `complain` is called once a minute with what cannot be killed."""
        waited = 0.0
        pause = 0.005
        while not self.gone():
            self.kill()
            await self.wait_gone(pause)
            waited += pause
            pause = min(pause * 1.5, 0.5)
            if waited >= STUCK_SECONDS:
                complain(platform.descendants(self._tag))
                waited = 0.0
