# ruff: noqa: PTH102, PTH118
# Paths are plain byte strings here, as the system calls take them.
"""Unpacking a snapshot: regular files and directories, and nothing else that a tar archive may hold.

The standard library's reader follows links, sparse maps and extended headers, each of which has been a way
out of the folder. This one knows three kinds of entries, and makes no link, so no path leads outside.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

MAX_MEMBERS = 100_000
MAX_BYTES = 1024**3
"""Unpacked bytes, headers included."""

UNSUSPICIOUS_BYTES = 128 * 1024**2
MAX_RATIO = 200
"""Beyond the former, so many times the packed size at most."""

_BLOCK = 512
_CHUNK = 256 * 1024
_MAX_NAME = 4096


class UnpackError(Exception):
    """The archive is not one that may be unpacked; the text says why."""


class _Member(NamedTuple):
    is_folder: bool
    parts: tuple[bytes, ...]
    executable: bool
    size: int


def unpack(archive: str, folder: str, check: Callable[[], None] = lambda: None) -> None:
    """Unpack the tar.gz `archive` into `folder`, which is made; `check` is called often and may raise.

    Of the modes only the executable bit counts; the rest comes from this process's umask.

    Raises:
        UnpackError: it holds anything but files and directories below it, is too large, or damaged.
        OSError: the disk refuses.
    """
    root = os.fsencode(folder)
    os.mkdir(root, 0o777)
    made: set[tuple[bytes, ...]] = {()}
    with _Reader(archive) as reader:
        for member in _members(reader):
            check()
            _make_folders(root, member.parts if member.is_folder else member.parts[:-1], made)
            if not member.is_folder:
                _write(reader, root, member)


class _Reader:
    """The unpacked bytes of a gzip file, counted."""

    def __init__(self, path: str) -> None:
        packed = os.stat(path).st_size  # noqa: PTH116
        self._limit = min(MAX_BYTES, max(UNSUSPICIOUS_BYTES, packed * MAX_RATIO))
        self._file = gzip.GzipFile(path, "rb")
        self._count = 0

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, or none at the end."""
        self._count += size
        if self._count > self._limit:
            raise UnpackError(f"it has more than {self._limit:,} bytes unpacked")
        try:
            data = self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnpackError(f"it is damaged: {error}") from error
        if data and len(data) < size:
            raise UnpackError("it is cut off")
        return data

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes in portions, and skip what fills the last block."""
        left = size
        while left:
            chunk = self.read(min(left, _CHUNK))
            if not chunk:
                raise UnpackError("it is cut off")
            left -= len(chunk)
            yield chunk
        if size % _BLOCK:
            self.read(_BLOCK - size % _BLOCK)


def _members(reader: _Reader) -> Iterator[_Member]:
    long_name: bytes | None = None
    count = 0
    while (header := reader.read(_BLOCK)) and header.strip(b"\0"):
        count += 1
        if count > MAX_MEMBERS:
            raise UnpackError(f"it has more than {MAX_MEMBERS:,} files")
        kind, size = header[156:157], _size(header)
        if kind == b"L":
            if size > _MAX_NAME:
                raise UnpackError("a name in it is too long")
            long_name = b"".join(reader.chunks(size)).rstrip(b"\0")
            continue
        name, long_name = long_name if long_name is not None else _name(header), None
        if kind not in (b"0", b"\0", b"5"):
            raise UnpackError(f"{_shown(name)} is neither a file nor a directory")
        is_folder = kind == b"5"
        if is_folder and size:
            raise UnpackError(f"the directory {_shown(name)} has content")
        mode = _number(header[100:108])
        yield _Member(is_folder, _parts(name.rstrip(b"/") if is_folder else name), bool(mode & 0o100), size)


def _number(field: bytes) -> int:
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise UnpackError("a header in it is damaged") from None


def _size(header: bytes) -> int:
    """Return the size in a header after a look at its checksum."""
    if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise UnpackError("a header in it is damaged")
    size = _number(header[124:136])
    if size < 0:
        raise UnpackError("a header in it is damaged")
    return size


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _parts(name: bytes) -> tuple[bytes, ...]:
    parts = tuple(name.split(b"/"))
    if b"\0" in name or any(part in (b"", b".", b"..") for part in parts):
        raise UnpackError(f"it names a path that it must not: {_shown(name)}")
    return parts


def _shown(name: bytes) -> str:
    return ascii(os.fsdecode(name[:200]))


def _make_folders(root: bytes, parts: tuple[bytes, ...], made: set[tuple[bytes, ...]]) -> None:
    for depth in range(1, len(parts) + 1):
        if parts[:depth] not in made:
            try:
                os.mkdir(os.path.join(root, *parts[:depth]), 0o777)
            except FileExistsError:
                raise UnpackError(f"it has {_shown(b'/'.join(parts[:depth]))} twice") from None
            made.add(parts[:depth])


def _write(reader: _Reader, root: bytes, member: _Member) -> None:
    path = os.path.join(root, *member.parts)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o777 if member.executable else 0o666)
    except FileExistsError:
        raise UnpackError(f"it has {_shown(b'/'.join(member.parts))} twice") from None
    with os.fdopen(file, "wb") as target:
        for chunk in reader.chunks(member.size):
            target.write(chunk)
