"""Files that are kept whole, by name: snapshots of code and the outputs of runs.

They lie in one folder: on a disk of the server, or wherever an fsspec URL points (`s3://bucket/augury`).
Names are made by the server from digests and ids, never by a client.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from augury.errors import NotFoundError, UnavailableError, UsageError

#: What a full disk, a refused connection or a missing right looks like.
_FAILURES = (OSError, ValueError)

PART = ".part"
"""How the name of a file ends that is not whole yet; workers of the local instance write such ones too."""

LEFT_SECONDS = 3600.0
"""A file that is not whole and was not written to for so long has nobody any more."""


def snapshot_name(digest: str) -> str:
    """Return the name of the snapshot whose bytes have this SHA-256 (hexadecimal)."""
    return f"snapshots/{digest}.tar.gz"


def outputs_name(run: int, token: int) -> str:
    """Return the name of the files that one attempt of a run has left."""
    return f"outputs/{run}.{token}.zip"


class Blobs:
    """The folder at `url`: a path, or a URL that fsspec understands."""

    def __init__(self, url: str) -> None:
        """Open the folder; it is made when the first blob is put.

        Raises:
            UsageError: the URL's scheme is unknown, or its package is not installed.
        """
        try:
            filesystem, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"AUGURY_BLOB_URL={url}: {error}") from error
        # fsspec is not typed.
        self._filesystem: Any = filesystem
        self._root = str(root).rstrip("/")
        self._is_folder = isinstance(filesystem, LocalFileSystem)

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Keep the bytes of `chunks` under `name`, whole or not at all, and return how many they are.

        What `chunks` raises is raised here, and nothing is kept.

        Raises:
            UnavailableError: the folder cannot be written.
        """
        path = self._path(name)
        size = 0
        with _told(name):
            self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            writing: _Writing = _Part(path) if self._is_folder else _Transaction(self._filesystem, path)
        try:
            for chunk in chunks:
                with _told(name):
                    writing.write(chunk)
                size += len(chunk)
            with _told(name):
                writing.commit()
        except BaseException:
            with suppress(*_FAILURES):
                writing.discard()
            raise
        return size

    def sweep(self) -> None:
        """Remove what a server or a worker that died had begun to write here."""
        if self._is_folder:
            before = time.time() - LEFT_SECONDS
            for path in Path(self._root).glob(f"*/*{PART}"):
                with suppress(OSError):
                    if path.stat().st_mtime < before:
                        path.unlink()

    def open(self, name: str) -> IO[bytes]:
        """Return the blob for reading, seekable; raises `NotFoundError` when there is none."""
        try:
            return cast("IO[bytes]", self._filesystem.open(self._path(name), "rb"))
        except FileNotFoundError:
            raise NotFoundError(f"{name} is not in the store of files") from None

    def size(self, name: str) -> int | None:
        """Return the size of a blob in bytes, None when there is none."""
        try:
            return int(self._filesystem.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a blob; one that is not there is no error."""
        try:
            self._filesystem.rm_file(self._path(name))
        except FileNotFoundError:
            pass

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class _Writing(Protocol):
    """A blob that is being written; nobody sees it before `commit`."""

    def write(self, data: bytes) -> object: ...

    def commit(self) -> None: ...

    def discard(self) -> None: ...


class _Part:
    """In a folder: under another name beside it. What fsspec does goes through /tmp and may leave half."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._part = Path(f"{path}.{secrets.token_hex(8)}{PART}")
        self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def write(self, data: bytes) -> object:
        return self._file.write(data)

    def commit(self) -> None:
        self._file.close()
        self._part.replace(self._path)

    def discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._file.close()


class _Transaction:
    """Elsewhere: as fsspec does it there."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self._file = filesystem.open(path, "wb", autocommit=False)

    def write(self, data: bytes) -> object:
        return self._file.write(data)

    def commit(self) -> None:
        self._file.close()
        self._file.commit()

    def discard(self) -> None:
        try:
            self._file.close()
        finally:
            self._file.discard()


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what a disk or a network refuses into a sentence."""
    try:
        yield
    except _FAILURES as error:
        raise UnavailableError(f"{name} cannot be stored: {error}") from error
