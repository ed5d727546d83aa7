"""What attempts ask for over HTTP: blobs, the one thing that does not travel by Redis."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from augury.errors import NotFoundError
from augury.server import snapshots
from augury.server.api.common import TheService
from augury.store import searches
from augury.store.records import RunRecord

#: Below it no user's token is let in, but an attempt that holds its run and signs with the key file.
PREFIX = "/api/v1/worker/"

router = APIRouter(prefix="/worker", tags=["worker"])


def attempt_of(request: Request) -> RunRecord:
    """Return the run that the asking attempt holds (set by the gate in `app`)."""
    run: RunRecord = request.state.attempt
    return run


TheAttempt = Annotated[RunRecord, Depends(attempt_of)]


@router.get("/snapshots/{digest}")
def get_snapshot(digest: str, service: TheService, run: TheAttempt) -> StreamingResponse:
    """Return the snapshot that the search of the asking attempt was submitted with, and no other."""
    with service.store.read() as connection:
        asked = searches.get(connection, run.search_id).spec.snapshot
    size = snapshots.size(service.blobs, digest)
    if size is None or asked != digest:
        raise NotFoundError(f"run {run.id} has no snapshot {digest}")
    return StreamingResponse(
        snapshots.read(service.blobs, digest),
        media_type="application/gzip",
        headers={"Content-Length": str(size)},
    )
