# ruff: noqa: PTH103, PTH118, PTH208
# Paths are plain strings here, as the system calls take them.
"""The folder of one slot: its lock, the record of what it runs, the reports that are not committed yet.

    <state>/<instance>/slots/<worker>.<index>/slot    the record, locked by the supervisor while it lives
                                              spool   unacknowledged reports
                                              <run>.<token>.<nonce>/metrics.jsonl, output/

Whoever holds the lock owns everything below. A record or reports without a final one under a free lock are
what a dead supervisor left: the processes are killed by their tag and the attempt is reported as died.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from augury_workers import platform
from augury_workers.spool import Identity, Spool

RECORD_BYTES = 256
"""The record is written by one call of this size: it is never seen half."""


class SlotBusyError(OSError):
    """Another process holds the lock of this slot."""


def _open_locked(path: str, flags: int) -> int:
    """Open a file and lock it for as long as it is open, here or in a forked child."""
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise SlotBusyError(error.errno, "it is in use", path) from error
        raise
    return file


class Slot:
    """A slot's folder with its lock held.

    Raises:
        SlotBusyError: the lock is held by another process.
    """

    def __init__(self, path: str, *, create: bool = True) -> None:
        if create:
            os.makedirs(path, mode=0o700, exist_ok=True)
        self.path = path
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self._file = _open_locked(os.path.join(path, "slot"), flags)
        self.spool = Spool(os.path.join(path, "spool"))

    def release(self) -> None:
        """Give the lock back."""
        self.spool.close()
        os.close(self._file)

    def write(self, identity: Identity | None) -> None:
        """Note what the slot is about to claim; None: nothing any more."""
        text = "" if identity is None else f"{identity.run} {identity.token} {identity.nonce}"
        os.pwrite(self._file, text.encode().ljust(RECORD_BYTES), 0)

    def read(self) -> Identity | None:
        """Return what the slot was about to claim or ran when it was last written."""
        try:
            run, token, nonce = os.pread(self._file, RECORD_BYTES, 0).decode().split()
            return Identity(int(run), int(token), nonce)
        except ValueError:
            return None

    def recover(self, instance: str, reason: str) -> None:
        """Kill what a dead supervisor left running and mark those attempts as died in the spool."""
        record = self.read()
        if record is not None:
            self.spool.keep(record)
        running = [identity for identity, kept in self.spool.kept.items() if not kept.ended]
        if running:
            platform.kill_tagged({identity.tag(instance) for identity in running})
        for identity in running:
            self.spool.mark_died(identity, reason)
        self.write(None)


def slots_folder(state_dir: str, instance: str) -> str:
    """Return the folder that holds the slots of all workers of an instance on this host."""
    return os.path.join(state_dir, instance, "slots")


def slot_folder(state_dir: str, instance: str, worker: str, index: int) -> str:
    """Return the folder of one slot of one worker."""
    return os.path.join(slots_folder(state_dir, instance), f"{worker}.{index}")


def lock_name(state_dir: str, instance: str, worker: str) -> None:
    """Keep the worker's name on this host for this process and the pool children that it forks.

    Raises:
        SlotBusyError: another worker of that name is there.
    """
    path = os.path.join(slots_folder(state_dir, instance), f"{worker}.lock")
    _open_locked(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)


def sweep(state_dir: str, instance: str, worker: str, slots: int) -> None:
    """Before the first claim: clear every slot of this host that no supervisor holds.

    Attempts of slots that this worker does not have go to its slot 0, whose supervisor reports them. The
    emptied folder stays: somebody may be waiting for the lock in it.
    """
    own = {f"{worker}.{index}" for index in range(slots)}
    heir = slot_folder(state_dir, instance, worker, 0)
    for name, slot in _free_slots(slots_folder(state_dir, instance)):
        try:
            slot.recover(instance, "its worker was gone")
            if name not in own and slot.spool.kept:
                _bequeath(slot, heir)
        finally:
            slot.release()


def _bequeath(slot: Slot, heir_folder: str) -> None:
    heir = Slot(heir_folder)
    try:
        for identity, kept in slot.spool.kept.items():
            heir.spool.adopt(identity, kept)
        slot.spool.clear()
    finally:
        heir.release()


def busy_slots(state_dir: str, instance: str, worker: str, slots: int) -> list[int]:
    """Return which of this worker's slots are held by a living supervisor."""
    busy = []
    for index in range(slots):
        try:
            Slot(slot_folder(state_dir, instance, worker, index)).release()
        except SlotBusyError:
            busy.append(index)
    return busy


def _free_slots(folder: str) -> Iterator[tuple[str, Slot]]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in names:
        # A slot in use is somebody's; anything else there is not ours to judge.
        with contextlib.suppress(SlotBusyError, FileNotFoundError, NotADirectoryError):
            yield name, Slot(os.path.join(folder, name), create=False)
