"""The files that runs have left, read out of the one zip of their attempt.

Paths are only looked up among the names in the zip: none of them ever becomes a path of the server.
"""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import IO

from augury.blobs import Blobs, outputs_name
from augury.errors import NotFoundError, RefusedError
from augury.run import FINAL_STATES
from augury.store.records import RunRecord

_CHUNK = 256 * 1024
_LOCAL_HEADER_BYTES = 30
_DIRECTORIES_KEPT = 4
_COUNTS_KEPT = 10_000


class OutputFiles:
    """Reads the outputs of final runs; they never change, so what was read of them is remembered."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._directories: OrderedDict[str, Mapping[str, zipfile.ZipInfo]] = OrderedDict()
        self._counts: OrderedDict[str, int] = OrderedDict()

    def count(self, run: RunRecord) -> int | None:
        """Return how many files a run has left; None when they cannot be read."""
        if not _has_outputs(run):
            return 0
        name = outputs_name(run.id, run.token)
        with self._lock:
            known = self._counts.get(name)
        if known is not None:
            return known
        try:
            found = len(self._directory(run))
        except RefusedError:
            return None
        with self._lock:
            self._counts[name] = found
            if len(self._counts) > _COUNTS_KEPT:
                self._counts.popitem(last=False)
        return found

    def listing(self, run: RunRecord) -> list[tuple[str, int]]:
        """Return path and size in bytes of each file that a run has left, in order of their paths.

        Raises:
            RefusedError: the zip is damaged.
        """
        return sorted((path, info.file_size) for path, info in self._directory(run).items())

    def open(self, run: RunRecord, path: str) -> tuple[int, Iterator[bytes]]:
        """Return the size of one file, and its bytes in pieces; a damaged one raises `BadZipFile` on the way.

        Raises:
            NotFoundError: the run has left no such file.
            RefusedError: the zip is damaged.
        """
        info = self._directory(run).get(path)
        if info is None:
            raise NotFoundError(f"run {run.id} has no file '{path}': see `augury ls runs/{run.id}`")
        file = self._blobs.open(outputs_name(run.id, run.token))
        try:
            _seek(file, info)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            file.close()
            raise _damaged(run, error) from error
        return info.file_size, _content(file, info)

    def _directory(self, run: RunRecord) -> Mapping[str, zipfile.ZipInfo]:
        if not _has_outputs(run):
            return {}
        name = outputs_name(run.id, run.token)
        with self._lock:
            known = self._directories.get(name)
        if known is None:
            known = self._read_directory(run, name)
            with self._lock:
                self._directories[name] = known
                if len(self._directories) > _DIRECTORIES_KEPT:
                    self._directories.popitem(last=False)
        return known

    def _read_directory(self, run: RunRecord, name: str) -> Mapping[str, zipfile.ZipInfo]:
        try:
            with self._blobs.open(name) as file, zipfile.ZipFile(file) as archive:
                return {info.filename: info for info in archive.infolist() if not info.is_dir()}
        except NotFoundError:
            return {}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise _damaged(run, error) from error


def _has_outputs(run: RunRecord) -> bool:
    """Tell whether there may be any: a kill drops what had come back already."""
    return run.state in FINAL_STATES and run.state != "killed"


def _damaged(run: RunRecord, error: Exception) -> RefusedError:
    return RefusedError(f"the outputs of run {run.id} cannot be read from the store of files: {error}")


def _seek(file: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Go to where the bytes of a member begin."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise zipfile.BadZipFile("a file in it is neither stored nor deflated")
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES or header[:4] != b"PK\3\4":
        raise zipfile.BadZipFile("a file in it has no header")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    file.seek(info.header_offset + _LOCAL_HEADER_BYTES + name + extra)


def _content(file: IO[bytes], info: zipfile.ZipInfo) -> Iterator[bytes]:
    with file:
        pieces = _stored(file, info.compress_size)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            pieces = _inflated(pieces)
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
            yield piece
        if crc != info.CRC:
            raise zipfile.BadZipFile(f"{info.filename}: its checksum is wrong")


def _stored(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        piece = file.read(min(size, _CHUNK))
        if not piece:
            raise zipfile.BadZipFile("it ends too early")
        size -= len(piece)
        yield piece


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in pieces:
            # Never more than a chunk at a time: little input may stand for very much.
            yield inflate.decompress(piece, _CHUNK)
            while inflate.unconsumed_tail:
                yield inflate.decompress(inflate.unconsumed_tail, _CHUNK)
        yield inflate.flush()
    except zlib.error as error:
        raise zipfile.BadZipFile(f"a file in it cannot be inflated: {error}") from error
