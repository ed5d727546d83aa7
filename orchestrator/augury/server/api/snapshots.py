"""Snapshots of code: looked for, and put where there is none yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from anyio import from_thread
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from augury.errors import UsageError
from augury.server import snapshots
from augury.server.api.common import TheService

router = APIRouter(prefix="/snapshots", tags=["snapshots"])


@router.head("/{digest}")
def has_snapshot(digest: str, service: TheService) -> Response:
    """Tell whether a snapshot is there: 204, or 404."""
    found = snapshots.size(service.blobs, digest) is not None
    return Response(status_code=204 if found else 404)


@router.put("/{digest}")
async def put_snapshot(digest: str, request: Request, service: TheService) -> dict[str, Any]:
    """Keep a tar.gz whose SHA-256 is `digest`; putting it again changes nothing."""
    parts = _pulled(request.stream())
    size = await run_in_threadpool(snapshots.keep, service.blobs, digest, parts)
    return {"snapshot": digest, "bytes": size}


def _pulled(stream: AsyncIterator[bytes]) -> Iterator[bytes]:
    """Yield the parts of a request's body to a thread, each when it is asked for: none is piled up."""

    async def next_part() -> bytes | None:
        return await anext(stream, None)

    try:
        while (part := from_thread.run(next_part)) is not None:
            yield part
    except ClientDisconnect:
        raise UsageError("the upload broke off") from None
