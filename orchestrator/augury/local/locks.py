"""Lock files as the sign of life: a part holds its lock for as long as it lives, and no longer.

A pid proves nothing (it may be a zombie that nobody reaps, or reused), a lock does: the kernel frees it in
the instant the last process that inherited it is gone. The file also names its holder, for messages and
for signals, with the start time that tells the process from a later one of the same pid.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


def try_lock(path: Path) -> int | None:
    """Take the lock and return its file descriptor; None when somebody else holds it.

    Closing the descriptor frees the lock, unless a child process has inherited it meanwhile.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def try_lock_for(path: Path, seconds: float) -> int | None:
    """Like `try_lock`, but go on trying: `is_held` of another process takes the lock for microseconds."""
    deadline = time.monotonic() + seconds
    while True:
        descriptor = try_lock(path)
        if descriptor is not None or time.monotonic() >= deadline:
            return descriptor
        time.sleep(0.005)


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock; a missing file is not held."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_same_file(descriptor: int, path: Path) -> bool:
    """Tell whether `path` still leads to the file of `descriptor`, not to a new one or to nothing."""
    mine = os.fstat(descriptor)
    try:
        found = path.stat()
    except OSError:
        return False
    return (mine.st_dev, mine.st_ino) == (found.st_dev, found.st_ino)


def write_holder(descriptor: int, pid: int) -> None:
    """Write into a lock file who holds it: `pid start-time`."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{pid} {_start_time(pid)}\n".encode(), 0)


def holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock, None when it is free or the holder is gone."""
    if not is_held(path):
        return None
    try:
        pid, started = path.read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if started != "gone" and started == _start_time(int(pid)) else None


def _start_time(pid: int) -> str:
    """Return the kernel's start time of a process; `-` without /proc, `gone` without the process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "gone" if Path("/proc/self/stat").exists() else "-"
    return "gone" if fields[0] in "ZX" else fields[19]
