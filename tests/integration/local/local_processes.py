"""Find and end every process of an instance."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from augury.local import locks
from augury.local.home import Home


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
