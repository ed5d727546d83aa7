"""The instance itself: its status, its events, its end."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from augury import __version__
from augury.errors import RefusedError
from augury.run import HELD_STATES
from augury.server.api.common import Id, TheService
from augury.server.service import Service
from augury.server.views import iso
from augury.store import events, runs, searches
from augury.store.database import FAILURES
from augury.store.events import Event
from augury.store.schema import SCHEMA

router = APIRouter(tags=["instance"])
_LOOK_SECONDS = 0.2
_KEEP_ALIVE_SECONDS = 15.0


@router.get("/status")
def status(request: Request, service: TheService) -> dict[str, Any]:
    """Return how the instance is: what is open, who works."""
    idle = service.idle_seconds()
    with service.store.read() as connection:
        opened = searches.open_searches(connection)
        counts = searches.counts(connection, [search.id for search in opened])
        busy = runs.held_by_worker(connection)
    running = sum(count for one in counts.values() for state, count in one.items() if state in HELD_STATES)
    now = time.monotonic()
    known = {worker["name"]: worker for worker in service.workers.listing()}
    return {
        "version": __version__,
        "instance": service.settings.instance,
        "url": str(request.base_url).rstrip("/"),
        "pid": os.getpid(),
        "started_at": iso(service.started_at),
        "idle_seconds": idle,
        "open_searches": len(opened),
        "running": running,
        "queued": sum(one.get("queued", 0) for one in counts.values()),
        "workers": [
            {
                "name": presence.hello.worker,
                "host": presence.hello.host,
                "types": list(presence.hello.types),
                "queues": list(presence.hello.queues),
                "slots": presence.hello.slots,
                "busy": busy.get(presence.hello.worker, 0),
                "last_seen_seconds": now - presence.seen,
                **{key: known[presence.hello.worker][key] for key in ("state", "reason")},
            }
            for presence in service.roster.workers()
            if presence.hello.worker in known  # one may have come in between
        ],
        "slots_from": _slots_from(service),
        "schema": SCHEMA,
    }


def _slots_from(service: Service) -> str | None:
    """Return what the slots of the local worker were set by; None on a cluster, where each has its own."""
    if not service.settings.local:
        return None
    kept = service.settings.home / "slots"
    return f"AUGURY_SLOTS, kept in {kept}" if os.environ.get("AUGURY_SLOTS") else "half of the cores"


class Shutdown(BaseModel):
    """`force` ends the instance although runs are under way; they run again at the next start."""

    force: bool = False


@router.post("/shutdown")
def shutdown(body: Shutdown, request: Request, service: TheService) -> dict[str, Any]:
    """End the local instance; `running` tells how many runs it ends with."""
    if not service.settings.local:
        raise RefusedError("only a local instance is ended this way: stop the server where it runs")
    opened = service.going_on()
    if opened and not body.force:
        ids = ", ".join(str(search_id) for search_id in opened if search_id > 0) or "a single run"
        raise RefusedError(
            f"still open: {ids}. End it with `augury hyper stop ID` or `augury stop RUN`, or use "
            "`augury down --force`: runs under way are ended and start from their beginning at the next start"
        )
    request.app.state.end()
    return {"running": sum(opened.values())}


@router.get("/events")
async def follow(
    service: TheService,
    search: Id | None = None,
    run: Id | None = None,
    after: Annotated[int | None, Query(ge=0)] = None,
    last_event_id: Annotated[int | None, Header()] = None,
) -> StreamingResponse:
    """Stream what happens as server-sent events, from behind event id `after` (or `Last-Event-ID`) on.

    Stored changes carry an id; `metrics` and `log` only say that there is something new to read.
    """
    start = after if after is not None else last_event_id
    if start is None:
        start = await run_in_threadpool(_newest, service)
    stream = _stream(service, search, run, start)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(
    service: Service, search_id: int | None, run_id: int | None, last: int
) -> AsyncIterator[str]:
    reader = service.hints.join()
    quiet = 0.0
    try:
        yield ": connected\n\n"
        while True:
            found = await run_in_threadpool(_after, service, last, search_id, run_id)
            texts = [_event_text(event) for event in found]
            texts += _hint_texts(service, reader, search_id, run_id)
            if found:
                last = found[-1].id
            if texts:
                # At once: what passes through the layers of the HTTP server costs more than writing it does.
                yield "".join(texts)
            quiet = 0.0 if texts else quiet + _LOOK_SECONDS
            if quiet >= _KEEP_ALIVE_SECONDS:
                quiet = 0.0
                yield ": keep-alive\n\n"
            if len(found) < events.PAGE:
                await asyncio.sleep(_LOOK_SECONDS)
    finally:
        service.hints.leave(reader)


def _newest(service: Service) -> int:
    with service.store.read() as connection:
        return events.newest(connection)


def _after(service: Service, last: int, search_id: int | None, run_id: int | None) -> list[Event]:
    """Return what has happened since event `last`; nothing while the store does not answer."""
    try:
        with service.store.read() as connection:
            return list(events.after(connection, last, search_id=search_id, run_id=run_id))
    except FAILURES:
        return []


def _event_text(event: Event) -> str:
    document = {
        "id": event.id,
        "time": iso(event.time),
        "search_id": event.search_id if event.search_id > 0 else None,
        "run_id": event.run_id,
        "kind": event.kind,
        "data": event.data,
    }
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(document)}\n\n"


def _hint_texts(service: Service, reader: int, search_id: int | None, run_id: int | None) -> list[str]:
    texts = []
    for run, (search, names) in service.hints.take(reader).items():
        if (search_id is not None and search != search_id) or (run_id is not None and run != run_id):
            continue
        shown = search if search > 0 else None
        if names - {""}:
            data = {"names": sorted(names - {""})}
            texts.append(_hint_text("metrics", {"search_id": shown, "run_id": run, "data": data}))
        if "" in names:
            texts.append(_hint_text("log", {"search_id": shown, "run_id": run, "data": {}}))
    return texts


def _hint_text(kind: str, document: dict[str, Any]) -> str:
    document = {"id": None, "time": iso(time.time()), "kind": kind} | document
    return f"event: {kind}\ndata: {json.dumps(document)}\n\n"
