"""The life of one part under the keeper: start, adopt, watch, start again, end.

A part is alive as long as its lock file is held. A child of this keeper has inherited the lock; a part that
an earlier keeper left behind holds its own, and is watched by trying the lock.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from augury.errors import AuguryError
from augury.local import locks
from augury.local.home import Home
from augury.local.launch import open_log
from augury.local.parts import Part

#: Wait before a part is started again, in seconds: the first one, and the longest after repeated failures.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0

#: A part that lived this many seconds has recovered: its failures are forgotten.
RECOVERED_AFTER = 10.0

#: How often a held lock is tried, in seconds: while its holder may be about to end, and afterwards.
QUICK_TRY, SLOW_TRY = 0.02, 1.0

#: How long the lock of a dead child may be held by its last descendants, in seconds.
LAST_DESCENDANTS = 2.0

#: How long a killed part may hold its lock, in seconds: its descendants go with it.
KILL_SECONDS = 2.0

_PR_SET_PDEATHSIG = 1

Event = Literal["nothing", "started", "adopted", "failed", "ended"]


@dataclass(frozen=True, slots=True)
class Report:
    """What the keeper tells of one part in `keeper.json`."""

    state: Literal["running", "adopted", "waiting"]
    pid: int | None
    failures: int
    last_end: str


def wait_before_start(failures: int) -> float:
    """Return the seconds to wait before a start after so many failures in a row: 0.1, 0.2, ... 5."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10)) if failures else 0.0


def describe_exit(code: int) -> str:
    """Return how a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


class Life:
    """One part, its process or the lock that another keeper's process holds, and its failures so far."""

    def __init__(self, home: Home, part: Part) -> None:
        self.part = part
        self.due = 0.0
        self.failures = 0
        self.last_end = ""
        self._home = home
        self._lock = home.lock(part.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._held_since: float | None = None
        self._patience = part.patience
        self._adopted = False
        self._listened = False
        self._refusals = 0

    @property
    def is_up(self) -> bool:
        """Tell whether the part lives, as this keeper's child or as an adopted process."""
        return self._process is not None or self._adopted

    @property
    def is_child(self) -> bool:
        """Tell whether the part is a child of this keeper: its end wakes the keeper up."""
        return self._process is not None

    def check(self, now: float) -> Event:
        """Look at the part and do what is due: see it end, start it, adopt it. Never waits."""
        if self._process is not None:
            return self._check_child(self._process, now)
        if now < self.due:
            return "nothing"
        lock = locks.try_lock(self._lock)
        if lock is None:
            return self._lock_is_held(now)
        try:
            return self._lock_is_free(lock, now)
        finally:
            os.close(lock)

    def stop(self) -> None:
        """End the part, at last with SIGKILL; returns when its lock is free or cannot be had."""
        for number, seconds in (*self.part.requests_to_end, (signal.SIGKILL, KILL_SECONDS)):
            self._signal(number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if self._is_gone():
                    return
                time.sleep(0.01)
        print(f"{self.part.name}: its lock is still held after SIGKILL", file=sys.stderr, flush=True)

    def report(self) -> dict[str, Any]:
        """Return what `keeper.json` says of the part."""
        pid = self._process.pid if self._process else locks.holder(self._lock) if self._adopted else None
        state: Literal["running", "adopted", "waiting"]
        state = "running" if self._process else "adopted" if self._adopted else "waiting"
        return asdict(Report(state, pid, self.failures, self.last_end))

    def _check_child(self, process: subprocess.Popen[bytes], now: float) -> Event:
        code = process.poll()
        if code is None:
            if self.failures and now - self._started >= RECOVERED_AFTER:
                self.failures = self._refusals = 0
            return "nothing"
        self._process = None
        if code == 0 and self.part.listens is not None:
            return "ended"
        self._patience = LAST_DESCENDANTS
        self._refusals = self._refusals + 1 if code > 0 else 0
        return self._failed(now, describe_exit(code))

    def _lock_is_held(self, now: float) -> Event:
        """Another process lives as this part: wait for its end, quickly as long as that may be near."""
        if self._held_since is None:
            self._held_since = now
        if now - self._held_since < self._patience:
            self.due = now + QUICK_TRY
            return "nothing"
        self.due = now + SLOW_TRY
        if self.part.listens is not None:
            self._listened = self._listened or self.part.listens()
        if self._adopted:
            return "nothing"
        self._adopted = True
        return "adopted"

    def _lock_is_free(self, lock: int, now: float) -> Event:
        self._held_since = None
        if self._adopted:
            self._adopted = False
            if self._listened and self.part.listens is not None and not self.part.listens():
                return "ended"
            self.failures += 1
            self.last_end = "gone"
        return self._start(lock, now)

    def _start(self, lock: int, now: float) -> Event:
        """Start the part as a child that inherits `lock`."""
        log = None
        try:
            if self.part.before_start is not None:
                self.part.before_start(self._refusals)
            log = open_log(self._home, self.part.name)
            self._process = subprocess.Popen(
                [os.fspath(word) for word in self.part.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=dict(self.part.environment),
                pass_fds=(lock,),
                start_new_session=True,
                # Safe here and only here: the keeper has a single thread.
                preexec_fn=die_with(os.getpid()) if self.part.dies_with_keeper else None,  # noqa: PLW1509
            )
        except (OSError, subprocess.SubprocessError, AuguryError) as error:
            return self._failed(now, f"could not start: {error}")
        finally:
            if log is not None:
                os.close(log)
        try:
            locks.write_holder(lock, self._process.pid)
        except OSError as error:
            print(f"cannot write {self._lock}: {error}", file=sys.stderr, flush=True)
        self._started = now
        return "started"

    def _failed(self, now: float, how: str) -> Event:
        self.failures += 1
        self.last_end = how
        self.due = now + wait_before_start(self.failures)
        return "failed"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            return
        pid = locks.holder(self._lock)
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def _is_gone(self) -> bool:
        return (self._process is None or self._process.poll() is not None) and not locks.is_held(self._lock)


def die_with(parent: int) -> Callable[[], None] | None:
    """Return what a child must call before exec to get SIGTERM when the main thread of `parent` ends.

    None where the system has no such thing (macOS, `AUGURY_PORTABLE`): the next keeper adopts what is left.
    """
    if sys.platform != "linux" or os.environ.get("AUGURY_PORTABLE"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def before_exec() -> None:
        # The keeper's own handler, still in place before exec, would swallow a SIGTERM.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:
            os._exit(1)

    return before_exec
