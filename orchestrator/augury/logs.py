"""The output of attempts, kept by the server in files: the beginning and the end, never everything.

An attempt's output is cut into segments of 1 MiB. The first is kept for ever, of the others only the
newest few: a training that prints for a week fills a known space. Writing is by offset, so that the
same bytes may arrive twice.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from augury.errors import UnavailableError

SEGMENT_BYTES = 1024 * 1024
TAIL_SEGMENTS = 8

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
_HOLE = re.compile(rb"\x00{64,}")


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some bytes of an output: they start at `offset` (later than asked for where bytes were dropped)."""

    data: bytes
    offset: int

    @property
    def next_offset(self) -> int:
        """Where the next page starts."""
        return self.offset + len(self.data)


def readable(data: bytes) -> str:
    """Return output as text; where bytes were dropped on the way, which leaves zeros, a line says so."""
    return _HOLE.sub(b"\n[augury: output is missing here]\n", data).decode("utf-8", "replace")


class LogFiles:
    """The logs below one folder; the paths are built from numbers only."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _folder(self, run_id: int) -> Path:
        # A thousand runs to a folder: no folder grows without bound.
        return self._root / f"{run_id // 1000:06d}"

    def _segment(self, run_id: int, token: int, number: int) -> Path:
        return self._folder(run_id) / f"{run_id}.{token}.{number:06d}.log"

    def write(self, run_id: int, token: int, offset: int, data: bytes) -> None:
        """Write bytes at their place in the output of an attempt.

        Raises:
            UnavailableError: the disk is full, or cannot be written for now.
        """
        try:
            self._write(run_id, token, offset, data)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise UnavailableError(f"output cannot be kept in {self._root}: {error.strerror}") from error

    def _write(self, run_id: int, token: int, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            number, start = divmod(offset, SEGMENT_BYTES)
            part = view[: SEGMENT_BYTES - start]
            path = self._segment(run_id, token, number)
            if start == 0 or not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._drop(run_id, token, number - TAIL_SEGMENTS)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                written = os.pwrite(handle, part, start)
            finally:
                os.close(handle)
            # Less than all of it where the disk is about to be full.
            offset += written
            view = view[written:]

    def _drop(self, run_id: int, token: int, number: int) -> None:
        if number > 0:
            self._segment(run_id, token, number).unlink(missing_ok=True)

    def read(self, run_id: int, token: int, offset: int, limit: int) -> LogPage:
        """Return up to `limit` bytes from `offset` on, skipping what is no longer kept."""
        number, start = divmod(max(offset, 0), SEGMENT_BYTES)
        last = self._last_segment(run_id, token)
        while number <= last:
            path = self._segment(run_id, token, number)
            if path.exists():
                with path.open("rb") as file:
                    file.seek(start)
                    data = file.read(limit)
                if data or number == last:
                    return LogPage(data, number * SEGMENT_BYTES + start)
            number, start = number + 1, 0
        return LogPage(b"", offset)

    def size(self, run_id: int, token: int) -> int:
        """Return the length of the output so far, dropped bytes included."""
        last = self._last_segment(run_id, token)
        if last < 0:
            return 0
        return last * SEGMENT_BYTES + self._segment(run_id, token, last).stat().st_size

    def tail(self, run_id: int, token: int, lines: int) -> LogPage:
        """Return the last `lines` lines (at most 1 MiB)."""
        end = self.size(run_id, token)
        page = LogPage(b"", end)
        start = max(0, end - SEGMENT_BYTES)
        data = b""
        while start < end:
            page = self.read(run_id, token, start, end - start)
            if not page.data:
                break
            data += page.data
            start = page.next_offset
        # Not `splitlines`: a progress bar, drawn again and again with carriage returns, is one line.
        kept = data.split(b"\n")[-lines - data.endswith(b"\n") :] if lines > 0 else []
        tail = b"\n".join(kept)
        return LogPage(tail, end - len(tail))

    def _last_segment(self, run_id: int, token: int) -> int:
        names = self._folder(run_id).glob(f"{run_id}.{token}.*.log")
        return max((int(path.name.split(".")[2]) for path in names), default=-1)
