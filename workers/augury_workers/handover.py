"""The pool child's side of a slot: starts the supervisor, hands runs over, cleans up after its death.

The pipes are made after the fork of the pool child, so nobody else holds their ends: when the pool child
dies in whatever way, the supervisor reads the end of its standard input.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from augury_workers import platform

_LINE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SlotSetting:
    """What the supervisors of a worker need to know, the same for all slots but for the index."""

    instance: str
    worker: str
    folders: str
    """Folder of the slots' folders, which are named `<worker>.<index>`."""
    python_folder: str | None
    pins: tuple[str, ...] = ()
    """For each slot what its runs get as `CUDA_VISIBLE_DEVICES`; empty: they are not pinned."""


class SlotKeeper:
    """Owns the supervisor of one slot, in the pool child."""

    def __init__(self, setting: SlotSetting, index: int) -> None:
        self._setting = setting
        self._index = index
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = 0.0
        platform.become_subreaper()
        self._start()

    def execute(self, run: int, token: int) -> dict[str, Any]:
        """Hand a run to the supervisor and return its one-line result; blocks as long as the run lasts."""
        if self._process is None or self._process.poll() is not None:
            self._bury()
            self._start()
        answer = self._ask({"run": run, "token": token})
        if answer is None:
            self._bury()
            # A supervisor that cannot even start must not eat doorbells as fast as they come.
            time.sleep(max(0.0, self._begun + 1.0 - time.monotonic()))
            self._start()
            return {"run": run, "state": "died", "exit": None}
        return answer

    def close(self) -> None:
        """Cut the lifeline: the supervisor ends its run, if any, and goes."""
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()

    def _start(self) -> None:
        setting = self._setting
        words = [sys.executable, "-P", "-m", "augury_workers.supervisor"]
        words += ["--instance", setting.instance, "--worker", setting.worker, "--index", str(self._index)]
        words += ["--folder", f"{setting.folders}/{setting.worker}.{self._index}"]
        if setting.python_folder is not None:
            words += ["--python-folder", setting.python_folder]
        if setting.pins:
            words += ["--gpu", setting.pins[self._index]]
        self._begun = time.monotonic()
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            # Away from the terminal's ^C, which is for the worker to hear.
            start_new_session=True,
        )

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            line = b""
            # Not readline: on a pipe without a buffer it asks for each byte.
            while not line.endswith(b"\n"):
                piece = os.read(self._process.stdout.fileno(), _LINE_BYTES)
                if not piece:
                    return None
                line += piece
        except OSError:
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _bury(self) -> None:
        """After the supervisor's death its run's processes are children of ours: kill all of them."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self.close()
        self._process = None
        pause = 0.002
        while platform.descendants():
            for pid in platform.descendants():
                platform.signal_process(pid, signal.SIGKILL)
            _reap()
            time.sleep(pause)
            pause = min(pause * 2, 0.5)
        _reap()


def _reap() -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
