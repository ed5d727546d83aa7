"""Code travels: the working tree is sent to the server before a search is submitted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from augury.spec import SearchSpec

if TYPE_CHECKING:
    from augury.client.connection import Notify
    from augury.client.routes import Routes
    from augury.client.snapshot import Snapshot

QUIET_SECONDS = 2.0
"""An upload that takes longer says how far it is, and again after each time so long."""

_CHUNK_BYTES = 256 * 1024


def ship(
    client: Routes, spec: SearchSpec, wanted: bool | None, notify: Notify | None = None
) -> tuple[SearchSpec, list[str]]:
    """Send the tree that the request's directory lies in, and return the request with it, and notices.

    Without it (`wanted` false; None: on the local instance) the request stays as it is: its runs see the
    files of the machine they run on. `notify` gets a line for people when the upload takes long.

    Raises:
        UsageError: the tree cannot be packed; nothing was submitted.
        AuguryError: the server refuses it.
    """
    if wanted is False or (wanted is None and client.address.local):
        return spec, []
    # Archives and git: only for who sends code.
    from augury.client.snapshot import pack

    snapshot = pack(spec.cwd)
    with snapshot.file:
        if not client.has_snapshot(snapshot.digest):
            client.put_snapshot(snapshot.digest, _told(snapshot, notify), snapshot.size)
    return replace(spec, snapshot=snapshot.digest, cwd=snapshot.cwd), list(snapshot.notices)


def _told(snapshot: Snapshot, notify: Notify | None) -> Iterator[bytes]:
    """Yield the bytes of a snapshot; tell now and then how many went."""
    tell_at, sent = time.monotonic() + QUIET_SECONDS, 0
    while chunk := snapshot.file.read(_CHUNK_BYTES):
        yield chunk
        sent += len(chunk)
        if notify is not None and time.monotonic() >= tell_at:
            tell_at = time.monotonic() + QUIET_SECONDS
            notify(f"Sending the code: {sent / 1e6:.1f} of {snapshot.size / 1e6:.1f} MB")
