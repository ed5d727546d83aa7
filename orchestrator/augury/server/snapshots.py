"""Snapshots of code in the store of files: taken in whole, named by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator

from augury.blobs import Blobs, snapshot_name
from augury.errors import UsageError
from augury.spec import MAX_PACKED_BYTES

_CHUNK_BYTES = 256 * 1024


def size(blobs: Blobs, digest: str) -> int | None:
    """Return the size of a snapshot in bytes; None when there is none.

    Raises:
        UsageError: `digest` is no SHA-256 in lower-case hexadecimal.
    """
    return blobs.size(_name(digest))


def keep(blobs: Blobs, digest: str, chunks: Iterable[bytes]) -> int:
    """Keep the bytes of `chunks` as snapshot `digest` and return how many they are.

    Raises:
        UsageError: they are too many, or have another digest; nothing is kept then.
        UnavailableError: they cannot be stored.
    """
    return blobs.put(_name(digest), _checked(digest, chunks))


def read(blobs: Blobs, digest: str) -> Iterator[bytes]:
    """Yield the bytes of a snapshot; raises `NotFoundError` before the first."""
    file = blobs.open(_name(digest))

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    return chunks()


def _name(digest: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(f"a snapshot is named by the SHA-256 of its bytes, but not {digest}")
    return snapshot_name(digest)


def _checked(digest: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    found, count = hashlib.sha256(), 0
    for chunk in chunks:
        count += len(chunk)
        if count > MAX_PACKED_BYTES:
            raise UsageError(f"a packed snapshot has at most {MAX_PACKED_BYTES:,} bytes")
        found.update(chunk)
        yield chunk
    if not hmac.compare_digest(found.hexdigest(), digest):
        raise UsageError(f"these bytes are not snapshot {digest}: their SHA-256 is {found.hexdigest()}")
