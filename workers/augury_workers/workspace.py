# ruff: noqa: PTH102, PTH104, PTH208
# Paths are plain strings here, as the system calls take them.
"""The folder of one attempt: its metrics file and its output folder.

Making and removing folders and files costs milliseconds on common file systems. A folder that its run left
clean is therefore renamed for the next one; a name is never used twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat

from augury_workers.removing import remove

METRICS = "metrics.jsonl"
OUTPUT = "output"


class Workspace:
    """Gives each attempt of a slot its folder, one at a time."""

    def __init__(self, slot_folder: str) -> None:
        self._slot_folder = slot_folder
        self._spare: str | None = None
        self._removals: set[asyncio.Task[None]] = set()

    def clear(self) -> None:
        """Remove the folders that earlier attempts left; may take long."""
        for entry in os.scandir(self._slot_folder):
            if entry.is_dir(follow_symlinks=False):
                remove(entry.path)

    def make(self, name: str) -> str:
        """Return the path of a folder with an empty metrics file and an empty output folder.

        Raises:
            OSError: the disk refuses.
        """
        folder = f"{self._slot_folder}/{name}"
        if self._spare is not None:
            spare, self._spare = self._spare, None
            os.rename(spare, folder)
            return folder
        os.mkdir(folder, 0o700)
        os.mkdir(f"{folder}/{OUTPUT}")
        os.close(os.open(f"{folder}/{METRICS}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        return folder

    def has_output(self, folder: str) -> bool:
        """Tell whether there is anything in the output folder, or it cannot be told."""
        try:
            return bool(os.listdir(f"{folder}/{OUTPUT}"))
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def give_back(self, folder: str, *, has_output: bool) -> None:
        """Take the folder of an ended attempt: clean it for the next one, or remove it in the background."""
        if self._spare is None and not has_output and _cleaned(folder):
            self._spare = folder
            return
        task = asyncio.ensure_future(asyncio.to_thread(remove, folder))
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)


def _cleaned(folder: str) -> bool:
    """Empty the metrics file; False when the run left anything else there, or not what was there.

    That nothing lies in the output folder is known.
    """
    metrics = f"{folder}/{METRICS}"
    with contextlib.suppress(OSError):
        status = os.lstat(metrics)
        # A link to or from elsewhere is the user's: never truncated.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_mode & 0o777 != 0o600:
            return False
        if sorted(os.listdir(folder)) != [METRICS, OUTPUT]:
            return False
        output = os.lstat(f"{folder}/{OUTPUT}").st_mode
        if not stat.S_ISDIR(output) or output & 0o700 != 0o700:
            return False
        if status.st_size:
            os.truncate(metrics, 0)
        return True
    return False
