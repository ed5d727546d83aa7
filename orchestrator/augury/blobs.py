"""Files that are kept whole, by name: snapshots of code and the outputs of runs.

They lie in one folder: on a disk of the server, or wherever an fsspec URL points (`s3://bucket/augury`).
Names are made by the server from digests and ids, never by a client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any, cast

import fsspec

from augury.errors import NotFoundError, UnavailableError, UsageError

#: What a full disk, a refused connection or a missing right looks like.
_FAILURES = (OSError, ValueError)


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

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Keep the bytes of `chunks` under `name`, whole or not at all, and return how many they are.

        What `chunks` raises is raised here, and nothing is kept.

        Raises:
            UnavailableError: the folder cannot be written.
        """
        path = self._path(name)
        size = 0
        try:
            self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            file = self._filesystem.open(path, "wb", autocommit=False)
        except _FAILURES as error:
            raise UnavailableError(f"{name} cannot be stored: {error}") from error
        try:
            with file:
                for chunk in chunks:
                    self._write(file, name, chunk)
                    size += len(chunk)
        except BaseException:
            file.discard()
            raise
        try:
            file.commit()
        except _FAILURES as error:
            raise UnavailableError(f"{name} cannot be stored: {error}") from error
        return size

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

    @staticmethod
    def _write(file: Any, name: str, chunk: bytes) -> None:
        try:
            file.write(chunk)
        except _FAILURES as error:
            raise UnavailableError(f"{name} cannot be stored: {error}") from error
