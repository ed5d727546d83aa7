# ruff: noqa: PTH114, SIM115
# Paths are plain strings here, as the system calls take them.
"""The files that a run leaves in its output folder: found, and streamed as one zip."""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

CHUNK = 1024 * 1024

STORED_FROM = 16 * 1024 * 1024
"""Files of so many bytes are not compressed: that would cost more time than it saves on the way."""

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LATEST = (2107, 12, 31, 23, 59, 58)


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: where it lies, its name below the output folder, its size in bytes."""

    path: str
    name: str
    size: int


@dataclass
class Files:
    """What lies in an output folder."""

    found: list[Found] = field(default_factory=list)
    links: int = 0
    special: int = 0
    """Sockets, pipes and devices."""
    unreadable: int = 0
    unopened: int = 0
    """Of those found, how many the last zip lacks."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.found)

    def left_out(self) -> str:
        """Return a phrase about what does not come back; empty when all does."""
        counts = {
            "link": self.links,
            "special file": self.special,
            "unreadable file": self.unreadable + self.unopened,
        }
        parts = [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items() if count]
        return f"left out of its outputs: {', '.join(parts)}" if parts else ""


def find(folder: str) -> Files:
    """Return what lies below `folder`; links are not followed, `folder` itself included."""
    files = Files()
    if os.path.islink(folder):
        files.links += 1
        return files
    below = [(folder, "")]
    while below:
        path, prefix = below.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            files.unreadable += 1
            continue
        for entry in entries:
            _sort(entry, f"{prefix}{entry.name}", files, below)
    return files


def _sort(entry: os.DirEntry[str], name: str, files: Files, below: list[tuple[str, str]]) -> None:
    try:
        if entry.is_symlink():
            files.links += 1
        elif entry.is_dir(follow_symlinks=False):
            below.append((entry.path, f"{name}/"))
        elif entry.is_file(follow_symlinks=False):
            files.found.append(Found(entry.path, _text(name), entry.stat(follow_symlinks=False).st_size))
        else:
            files.special += 1
    except OSError:
        files.unreadable += 1


def _text(name: str) -> str:
    """Return a name that is text on one line, whatever bytes it has on disk."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class AbortedError(Exception):
    """The files are not wanted any more."""


class DamagedError(Exception):
    """A file cannot be read to its end; the text says which and why."""


def zip_chunks(files: Files, is_wanted: Callable[[], bool]) -> Iterator[bytes]:
    """Yield a zip of the files piece by piece; one that cannot be opened is counted and left out.

    Raises:
        AbortedError: `is_wanted` says no.
        DamagedError: a file cannot be read to its end.
    """
    sink = _Sink()
    files.unopened = 0
    with zipfile.ZipFile(sink, "w") as archive:
        for found in files.found:
            try:
                file = open(found.path, "rb", buffering=0, opener=_open_plain)
            except OSError:
                files.unopened += 1
                continue
            with file, archive.open(_info(found, file), "w", force_zip64=True) as member:
                while piece := _read(file, found.name):
                    if not is_wanted():
                        raise AbortedError
                    member.write(piece)
                    if sink.waiting >= CHUNK:
                        yield sink.take()
    yield sink.take()


def _read(file: io.FileIO, name: str) -> bytes:
    try:
        return file.read(CHUNK)
    except OSError as error:
        raise DamagedError(f"{name} cannot be read: {error.strerror or error}") from error


def _open_plain(path: str, flags: int) -> int:
    # Not waiting for the other end, should it have become a pipe.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _info(found: Found, file: io.FileIO) -> zipfile.ZipInfo:
    changed = time.localtime(os.fstat(file.fileno()).st_mtime)[:6]
    info = zipfile.ZipInfo(found.name, max(_EARLIEST, min(changed, _LATEST)))
    info.compress_type = zipfile.ZIP_STORED if found.size >= STORED_FROM else zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


class _Sink(io.RawIOBase):
    """Takes what a zip writes, until it is taken away; cannot seek."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self.waiting = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        self.waiting += len(piece)
        return len(piece)

    def take(self) -> bytes:
        pieces, self._pieces, self.waiting = self._pieces, [], 0
        return b"".join(pieces)
