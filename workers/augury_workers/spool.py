# ruff: noqa: PTH105
# Paths are plain strings here, as the system calls take them.
"""Reports on disk until the server has committed them: one journal per slot, appended to, never synced.

Creating a file costs a millisecond of CPU on common file systems, so all attempts of a slot share one; it is
emptied whenever nothing is left to keep. Without fsync it survives every death of ours but not one of the
whole host, after which the attempts are lost anyway. A full disk costs the copy, never the run: what could
not be written stays in memory.

A record is a head line `<run> <token> <nonce> <s> <length of body> <length of data>` followed by body and
data. `s` is the number of the report, 0 for the reason why the attempt died, -1 when nothing is to be kept.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from augury_workers import protocol

REWRITE_BYTES = 16 * 1024 * 1024
"""Above this size what is settled is cut from the file."""

_DIED = 0
_SETTLED = -1


@dataclass(frozen=True, slots=True)
class Identity:
    """Which attempt: the run, the token that fences it and the nonce of its claim."""

    run: int
    token: int
    nonce: str

    def tag(self, instance: str) -> str:
        """Return the value of `AUGURY_TAG` in its processes."""
        return protocol.attempt_tag(instance, self.run, self.token, self.nonce)

    def __str__(self) -> str:
        return f"{self.run}.{self.token}.{self.nonce}"


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


@dataclass
class Kept:
    """What is kept of one attempt: its unacknowledged reports, and why it died if it did."""

    reports: deque[Report] = field(default_factory=deque)
    died: str | None = None
    partial: bool = False
    """A report is missing on disk; later ones would make no sense there."""

    @property
    def ended(self) -> bool:
        """True when the last report is the final one."""
        return bool(self.reports) and json.loads(self.reports[-1].body).get("k") == "final"


def encode(identity: Identity, s: int, body: str, data: bytes = b"") -> bytes:
    """Return one record."""
    content = body.encode()
    head = f"{identity.run} {identity.token} {identity.nonce} {s} {len(content)} {len(data)}\n"
    return b"%b%b%b\n" % (head.encode(), content, data)


def decode(content: bytes) -> Iterator[tuple[Identity, Report]]:
    """Read the records; a half-written one and what follows is left out."""
    at = 0
    while (head_end := content.find(b"\n", at)) >= 0:
        try:
            run, token, nonce, *numbers = content[at:head_end].split()
            s, body_length, data_length = map(int, numbers)
            identity = Identity(int(run), int(token), nonce.decode())
        except ValueError:
            return
        middle = head_end + 1 + body_length
        end = middle + data_length
        if len(content) <= end:
            return
        yield identity, Report(s, content[head_end + 1 : middle].decode(), content[middle:end])
        at = end + 1


class Spool:
    """The journal of one slot; what it holds is also in memory."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._limit = REWRITE_BYTES
        self._settled = b""
        self.kept: dict[Identity, Kept] = {}
        self._load()

    def keep(self, identity: Identity) -> Kept:
        """Return what is kept of an attempt, beginning to keep it if need be."""
        return self.kept.setdefault(identity, Kept())

    def append(self, identity: Identity, reports: Iterable[Report]) -> None:
        """Write reports that were added to what is kept of the attempt."""
        kept = self.kept[identity]
        if not kept.partial:
            kept.partial = not self._write(_encode_all(identity, reports))

    def mark_died(self, identity: Identity, reason: str) -> None:
        """Note that the attempt ended without a result; the first reason stays."""
        kept = self.keep(identity)
        if kept.died is None:
            kept.died = reason
            self._write(encode(identity, _DIED, reason))

    def settle(self, identity: Identity) -> None:
        """Forget an attempt: the server has committed all of it, or does not want it any more."""
        if self.kept.pop(identity, None) is None:
            return
        self._settled += encode(identity, _SETTLED, "")
        if not self.kept:
            self._settled = b""
            self._truncate(0)

    def adopt(self, identity: Identity, kept: Kept) -> None:
        """Take over what another slot's journal keeps of an attempt."""
        self.kept[identity] = kept
        self._write(_encode_kept(identity, kept))

    def clear(self) -> None:
        """Forget everything."""
        self.kept.clear()
        self._settled = b""
        self._truncate(0)

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._file)

    def _load(self) -> None:
        self._size = os.fstat(self._file).st_size
        for identity, report in decode(os.pread(self._file, self._size, 0)):
            if report.s == _SETTLED:
                self.kept.pop(identity, None)
                continue
            kept = self.keep(identity)
            if report.s == _DIED:
                kept.died = report.body
            elif not kept.reports or report.s == kept.reports[-1].s + 1:
                kept.reports.append(report)
        if self._size:
            self._rewrite()

    def _write(self, data: bytes) -> bool:
        data = self._settled + data
        try:
            written = os.write(self._file, data)
        except OSError:
            written = 0
        if written != len(data):
            self._truncate(self._size)
            return False
        self._settled = b""
        self._size += written
        if self._size > self._limit:
            self._rewrite()
        return True

    def _rewrite(self) -> None:
        """Replace the file by one that holds what is still kept."""
        fresh = f"{self._path}.new"
        data = b"".join(
            _encode_kept(identity, kept) for identity, kept in self.kept.items() if not kept.partial
        )
        try:
            file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            if os.write(file, data) != len(data):
                raise OSError("the disk is full")
            os.replace(fresh, self._path)
        except OSError:
            os.close(file)
            return
        os.close(self._file)
        self._file, self._size, self._settled = file, len(data), b""
        self._limit = max(REWRITE_BYTES, 2 * self._size)

    def _truncate(self, size: int) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, size)
            self._size = size


def _encode_all(identity: Identity, reports: Iterable[Report]) -> bytes:
    return b"".join([encode(identity, report.s, report.body, report.data) for report in reports])


def _encode_kept(identity: Identity, kept: Kept) -> bytes:
    died = b"" if kept.died is None else encode(identity, _DIED, kept.died)
    return died + _encode_all(identity, kept.reports)
