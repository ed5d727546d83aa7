"""An instance of stand-ins in a folder of its own; nothing of it is left after a test."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from augury.local import launch, locks
from augury.local.home import Home

sys.path.insert(0, str(Path(__file__).parent))

import standin


def processes_of(home: Path) -> dict[int, str]:
    """Return pid and command line of every process that names `home`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(home) in words:
                found[int(entry.name)] = words.replace(b"\0", b" ").decode()
    return found


def end_everything(home: Path) -> None:
    """Kill all processes of an instance, the keeper first, until none is left."""
    place = Home(home)
    for _ in range(100):
        living = [locks.holder(place.lock(name)) for name in ("keeper", "server", "worker", "valkey")]
        pids = {pid for pid in living if pid} | set(processes_of(home))
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    assert not processes_of(home)
    if home.exists():
        place.leave_socket_folder()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home folder (not made yet) whose keeper will run stand-ins."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AUGURY_HOME", str(folder))
    monkeypatch.setattr(launch, "keeper_command", standin.keeper_command)
    yield Home(folder)
    end_everything(folder)
    shutil.rmtree(tmp_path, ignore_errors=True)
