"""Files that runs leave: taken in from workers, given out to users."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from augury.blobs import outputs_name
from augury.errors import RefusedError, UnavailableError
from augury.server.api.common import TheService
from augury.server.api.worker import TheAttempt
from augury.server.api.worker import router as worker_router
from augury.server.service import Service
from augury.store.records import RunRecord

router = APIRouter(tags=["runs"])
_uploads = ThreadPoolExecutor(16, "upload")
"""So many at a time, others wait: they must not take the threads away that answer everybody else."""
_LOOK_SECONDS = 1.0
_AT_ONCE_BYTES = 256 * 1024
_MEDIA_TYPE = "application/octet-stream"
_log = logging.getLogger(__name__)


@router.get("/runs/{run_id}/outputs")
def list_outputs(run_id: int, service: TheService) -> dict[str, Any]:
    """List the files that a run has left, with their sizes in bytes."""
    found = service.outputs.listing(service.run(run_id))
    return {"outputs": [{"path": path, "bytes": size} for path, size in found]}


@router.get("/runs/{run_id}/outputs/{path:path}")
def get_output(run_id: int, path: str, service: TheService) -> Response:
    """Return one of the files that a run has left."""
    size, content = service.outputs.open(service.run(run_id), path)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    if size <= _AT_ONCE_BYTES:
        # A tree of small files is so many requests: each at the price of one, not of a stream.
        return Response(b"".join(content), media_type=_MEDIA_TYPE, headers=headers)
    return StreamingResponse(content, media_type=_MEDIA_TYPE, headers=headers)


@worker_router.put("/outputs")
async def put_outputs(request: Request, service: TheService, run: TheAttempt) -> dict[str, Any]:
    """Keep the one zip of the files that the asking attempt has written, whole or not at all."""
    upload = _Upload(request.stream())
    try:
        size = await asyncio.get_running_loop().run_in_executor(_uploads, _keep, service, run, upload)
    except ClientDisconnect:
        raise RefusedError("the worker broke off") from None
    finally:
        upload.ended = True
    return {"bytes": size}


class _Upload:
    """Gives a thread what the event loop receives."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self.ended = False
        """Nobody waits for the answer any more."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield in the calling thread; raises `ClientDisconnect` when the rest will not come."""
        while (chunk := self._next()) is not None:
            yield chunk

    def _next(self) -> bytes | None:
        future = asyncio.run_coroutine_threadsafe(self._receive(), self._loop)
        while True:
            try:
                return future.result(_LOOK_SECONDS)
            except TimeoutError:
                if self.ended:
                    raise ClientDisconnect from None

    async def _receive(self) -> bytes | None:
        return await anext(self._stream, None)


def _keep(service: Service, run: RunRecord, upload: _Upload) -> int:
    name = outputs_name(run.id, run.token)
    try:
        size = service.blobs.put(name, upload)
    except UnavailableError as error:
        # To the worker this is an answer, not a server that is away: it does not try for ever.
        _log.warning("%s", error)
        raise RefusedError(f"the server has no room: {error}") from error
    if not _still_wanted(service, run):
        service.blobs.remove(name)
        raise RefusedError(f"the files of run {run.id} are not wanted any more")
    return size


def _still_wanted(service: Service, run: RunRecord) -> bool:
    now = service.run(run.id)
    return (now.token, now.nonce) == (run.token, run.nonce) and now.want != "kill"
