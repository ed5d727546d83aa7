"""Reports on disk until the server has committed them: one file per attempt, appended to, never synced.

Written without fsync it survives every death of ours but not one of the whole host, after which the attempt
is lost anyway. A full disk turns the spool off: reports then live in memory only and the run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

REWRITE_BYTES = 16 * 1024 * 1024
"""Above this size acknowledged reports are cut from the file."""


@dataclass(frozen=True, slots=True)
class Report:
    """One ordered report: its sequence number, its JSON text and the log bytes."""

    s: int
    body: str
    data: bytes = b""

    @property
    def size(self) -> int:
        """Bytes it takes on the wire, nearly."""
        return len(self.body) + len(self.data) + 32

    def encode(self) -> bytes:
        """Return its record in the file: a head line with the lengths, then body and data."""
        body = self.body.encode()
        return b"%d %d %d\n%b%b\n" % (self.s, len(body), len(self.data), body, self.data)


def decode(content: bytes) -> list[Report]:
    """Read the records of a file; a half-written one at the end is left out."""
    found = []
    at = 0
    while True:
        head_end = content.find(b"\n", at)
        if head_end < 0:
            return found
        try:
            s, body_length, data_length = map(int, content[at:head_end].split())
        except ValueError:
            return found
        middle = head_end + 1 + body_length
        end = middle + data_length
        if len(content) <= end:
            return found
        found.append(Report(s, content[head_end + 1 : middle].decode(), content[middle:end]))
        at = end + 1


class Spool:
    """The file of one attempt, opened when first written."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = -1
        self._size = 0
        self.broken: str | None = None
        """Why reports are no longer kept on disk."""

    def append(self, reports: Iterable[Report]) -> None:
        """Write reports; a disk that refuses turns the spool off."""
        if self.broken is not None:
            return
        data = b"".join([report.encode() for report in reports])
        try:
            if self._file < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._file = os.open(self.path, flags, 0o600)
            if os.write(self._file, data) != len(data):
                raise OSError("the disk is full")
            self._size += len(data)
        except OSError as error:
            self.broken = str(error)
            self.close()

    def forget(self, unacked: Iterable[Report]) -> bool:
        """After an acknowledgement: rewrite a file that has grown large with what is still needed.

        True when it was rewritten: it now holds all of `unacked`.
        """
        if self._size < REWRITE_BYTES or self.broken is not None:
            return False
        data = b"".join([report.encode() for report in unacked])
        try:
            with open(f"{self.path}.new", "wb") as file:
                file.write(data)
            os.replace(f"{self.path}.new", self.path)
        except OSError as error:
            self.broken = str(error)
        self._size = len(data)
        self.close()
        return True

    def load(self) -> list[Report]:
        """Return what the file holds; nothing when there is none."""
        try:
            with open(self.path, "rb") as file:
                return decode(file.read())
        except FileNotFoundError:
            return []

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
