# ruff: noqa: PTH101, PTH103, PTH108, PTH112, PTH116, PTH118, PTH120, PTH208
# Paths are plain strings here, as the system calls take them.
"""The unpacked snapshots of a worker: one folder per search (or single run), shared by its slots.

    <state>/<instance>/snapshots/<name>         the files
                                 <name>.lock    shared by whoever uses them, exclusive while they are made
                                 <name>.*.new   what a killed supervisor left unfinished

The lock file holds the id of the system's boot in which the files were made: after a crash of the machine
they may be torn, and are made anew. Its time is that of the last use.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable

from augury_workers.removing import remove

IDLE_SECONDS = 86_400.0
"""Files that no run has used for so long are removed."""

_WAIT_SECONDS = 0.05
UNFINISHED = ".new"
"""How the name ends of what is not finished yet."""


class Tree:
    """Unpacked files, kept as they are until `release`."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        """Let the files be removed when nobody uses them for a day."""
        with contextlib.suppress(OSError):
            os.utime(self._lock)
        os.close(self._lock)


def folder_of(slot_folder: str) -> str:
    """Return the folder of all unpacked snapshots of the host and instance of a slot."""
    return os.path.join(os.path.dirname(os.path.dirname(slot_folder)), "snapshots")


def get(folder: str, name: str, make: Callable[[str], None], wait: Callable[[float], None]) -> Tree:
    """Return the files `name`, made by `make(path of a folder that does not exist)` if they are not there.

    Blocks while another slot makes them; `wait(seconds)` pauses, and ends the wait by raising. What `make`
    raises is raised here.

    Raises:
        OSError: the disk refuses.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, name)
    while True:
        lock = _locked(f"{path}.lock", fcntl.LOCK_SH, wait)
        if _is_whole(path, lock):
            return Tree(path, lock)
        os.close(lock)
        # Never waited for: who has made the files meanwhile holds them for as long as its run goes on.
        maker = _lock_at_once(f"{path}.lock", fcntl.LOCK_EX)
        if maker is None:
            wait(_WAIT_SECONDS)
            continue
        try:
            if not _is_whole(path, maker):
                _make(path, maker, make)
        finally:
            os.close(maker)


def sweep(folder: str, idle: float = IDLE_SECONDS) -> None:
    """Remove files that nobody has used for `idle` seconds, and never those that somebody uses."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(folder):
            if entry.endswith(".lock"):
                with contextlib.suppress(OSError):
                    _remove_idle(os.path.join(folder, entry), idle)


def _make(path: str, lock: int, make: Callable[[str], None]) -> None:
    _remove(path)
    fresh = f"{path}.{os.getpid()}{UNFINISHED}"
    try:
        make(fresh)
    except BaseException:
        remove(fresh)
        raise
    os.rename(fresh, path)  # noqa: PTH104
    os.ftruncate(lock, 0)
    os.pwrite(lock, _boot(), 0)


def _is_whole(path: str, lock: int) -> bool:
    return os.path.isdir(path) and os.pread(lock, 64, 0) == _boot()


def _boot() -> bytes:
    """Return what is another after each start of the machine, where the system has such a thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return b"-"


def _locked(path: str, kind: int, wait: Callable[[float], None]) -> int:
    """Open and lock a file, when it can be."""
    while True:
        file = _lock_at_once(path, kind)
        if file is not None:
            return file
        wait(_WAIT_SECONDS)


def _lock_at_once(path: str, kind: int) -> int | None:
    """Open and lock a file if it can be now; its name may just be taken away by who removes idle files."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _try_lock(file, kind) and _is_at(file, path):
            os.utime(file)
            return file
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _is_at(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _remove_idle(path: str, idle: float) -> None:
    if time.time() - os.stat(path).st_mtime < idle:
        return
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not (_try_lock(file, fcntl.LOCK_EX) and _is_at(file, path)):
            return
        if time.time() - os.fstat(file).st_mtime >= idle:
            _remove(path.removesuffix(".lock"))
            os.unlink(path)
    finally:
        os.close(file)


def _remove(path: str) -> None:
    """Remove the files and what was left unfinished of them; the caller holds the lock."""
    folder, name = os.path.split(path)
    for entry in os.listdir(folder):
        if entry == name or (entry.startswith(f"{name}.") and entry.endswith(UNFINISHED)):
            _remove_entry(os.path.join(folder, entry))


def _remove_entry(path: str) -> None:
    remove(path)
    if os.path.isdir(path):
        # A run has taken the right to write from folders in it.
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
