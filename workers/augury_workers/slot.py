"""The folder of one slot: its lock, the record of what it runs, and one folder per unfinished attempt.

    <state>/<instance>/slots/<worker>.<index>/slot              locked by the supervisor while it lives; the record
                                              /<run>.<token>.<nonce>/  metrics.jsonl, output/, spool, died

Whoever holds the lock owns everything below. A free lock with a record or a folder without a final report is
what a dead supervisor left: its processes are killed by their tag and the attempt is reported as died.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from augury_workers import platform, protocol

RECORD_BYTES = 256
"""The record is written by one call of this size: it is never seen half."""

_DIED = "died"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which attempt: the run, the token that fences it and the nonce of its claim."""

    run: int
    token: int
    nonce: str

    @property
    def folder(self) -> str:
        """Name of the attempt's folder."""
        return f"{self.run}.{self.token}.{self.nonce}"

    def tag(self, instance: str) -> str:
        """Return the value of `AUGURY_TAG` in its processes."""
        return protocol.attempt_tag(instance, self.run, self.token, self.nonce)


def parse_folder(name: str) -> Identity | None:
    """Read the name of an attempt's folder back; None for anything else."""
    parts = name.split(".")
    if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal() and parts[2].isalnum()):
        return None
    return Identity(int(parts[0]), int(parts[1]), parts[2])


class SlotBusyError(OSError):
    """Another process holds the lock of this slot."""


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
        self._file = os.open(os.path.join(path, "slot"), flags, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise SlotBusyError(error.errno, "the slot is in use", path) from error
            raise

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._file)

    def write(self, identity: Identity | None) -> None:
        """Note what the slot is about to claim; None: nothing any more."""
        body = {} if identity is None else {"run": identity.run, "token": identity.token, "nonce": identity.nonce}
        os.pwrite(self._file, json.dumps(body).encode().ljust(RECORD_BYTES), 0)

    def read(self) -> Identity | None:
        """Return what the slot was about to claim or ran when it was last written."""
        try:
            body = json.loads(os.pread(self._file, RECORD_BYTES, 0) or b"{}")
            return Identity(int(body["run"]), int(body["token"]), str(body["nonce"])) if body else None
        except (ValueError, KeyError, TypeError):
            return None

    def attempts(self) -> list[Identity]:
        """Return the attempts that have a folder here."""
        found = [parse_folder(name) for name in os.listdir(self.path)]
        return [identity for identity in found if identity is not None]

    def folder(self, identity: Identity) -> str:
        """Return the path of an attempt's folder."""
        return f"{self.path}/{identity.folder}"

    def recover(self, instance: str, reason: str) -> list[Identity]:
        """Kill what a dead supervisor left running, mark those attempts as died, return all with a folder."""
        record = self.read()
        if record is not None:
            os.makedirs(self.folder(record), mode=0o700, exist_ok=True)
        left = self.attempts()
        if left:
            platform.kill_tagged({identity.tag(instance) for identity in left})
        for identity in left:
            mark_died(self.folder(identity), reason)
        self.write(None)
        return left


def mark_died(folder: str, reason: str) -> None:
    """Note that the attempt ended without its supervisor; the first reason stays."""
    with contextlib.suppress(FileExistsError), open(f"{folder}/{_DIED}", "x", encoding="utf-8") as file:
        file.write(reason)


def died_reason(folder: str) -> str | None:
    """Return why the attempt died, None when it did not."""
    try:
        with open(f"{folder}/{_DIED}", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def make_folder(folder: str) -> None:
    """Make an attempt's folder with its empty output folder and metrics file."""
    os.mkdir(folder, 0o700)
    os.mkdir(f"{folder}/output")
    os.close(os.open(f"{folder}/metrics.jsonl", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def remove_folder(folder: str) -> bool:
    """Remove the folder of a run that left nothing in it but our files; False: there is more to remove."""
    for name in ("spool", "metrics.jsonl", _DIED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{name}")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(f"{folder}/output")
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_tree(folder: str) -> None:
    """Remove the folder whatever the run left in it; may take long."""
    shutil.rmtree(folder, ignore_errors=True)


def slots_folder(state_dir: str, instance: str) -> str:
    """Return the folder that holds the slots of all workers of an instance on this host."""
    return os.path.join(state_dir, instance, "slots")


def slot_folder(state_dir: str, instance: str, worker: str, index: int) -> str:
    """Return the folder of one slot of one worker."""
    return os.path.join(slots_folder(state_dir, instance), f"{worker}.{index}")


def sweep(state_dir: str, instance: str, worker: str, slots: int) -> None:
    """Before the first claim: clear every slot of this host that no supervisor holds.

    Attempts of slots that this worker does not have go to its slot 0, whose supervisor reports them. The
    emptied folder stays: somebody may be waiting for the lock in it.
    """
    own = {f"{worker}.{index}" for index in range(slots)}
    heir = slot_folder(state_dir, instance, worker, 0)
    os.makedirs(heir, mode=0o700, exist_ok=True)
    for name, slot in _free_slots(slots_folder(state_dir, instance)):
        try:
            left = slot.recover(instance, "its worker was gone")
            for identity in left if name not in own else []:
                os.rename(slot.folder(identity), os.path.join(heir, identity.folder))
        finally:
            slot.release()


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
