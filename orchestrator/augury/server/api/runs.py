"""Runs: submit a single one, list, look at, read logs and metrics, stop, kill."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from augury.errors import UsageError
from augury.logs import readable
from augury.run import FINAL_STATES, Want
from augury.server import views
from augury.server.api.common import Id, Limit, Owner, TheService
from augury.server.api.searches import Submission, points_page, read_spec, with_searches
from augury.server.service import Service
from augury.store import points, runs, searches

router = APIRouter(tags=["runs"])


class RunIds(BaseModel):
    """Ids of runs."""

    ids: Annotated[list[int], Field(min_length=1, max_length=100_000)]


@router.post("/runs", status_code=201)
def submit(body: Submission, service: TheService, owner: Owner) -> dict[str, Any]:
    """Start a single run outside any search."""
    spec = read_spec(body.spec)
    if spec.kind != "run":
        raise UsageError("a search is submitted to /searches")
    submitted = service.submit(spec, owner, dry_run=body.dry_run)
    if submitted.search_id is None:
        shown = views.planned_json(submitted.plan, submitted.notices, 1)
        return {"run": shown["runs"][0], "notices": submitted.notices}
    with service.store.read() as connection:
        search = searches.get(connection, submitted.search_id)
        run = runs.of_search(connection, search.id, limit=1)[0]
    return {"run": views.run_json(run, search), "notices": submitted.notices}


@router.get("/runs")
def list_runs(
    service: TheService,
    owner: Owner,
    limit: Limit = 50,
    before: Id | None = None,
    all: bool = False,
    label: str | None = None,
    state: Annotated[list[str] | None, Query()] = None,
) -> dict[str, Any]:
    """List runs, newest first: one's own, or everybody's with `all`."""
    with service.store.read() as connection:
        found = runs.listing(
            connection,
            before=before,
            limit=limit,
            owner=None if all else owner,
            states=state or (),
            search_ids=None if label is None else searches.with_label(connection, label),
        )
        pairs = with_searches(connection, found)
    documents = [views.run_json(run, search) for run, search in pairs]
    return {"runs": documents, "next": found[-1].id if len(found) == limit else None}


@router.get("/runs/{run_id}")
def get_run(run_id: int, service: TheService) -> dict[str, Any]:
    """Return one run with its attempts and the names of its metrics."""
    run = service.run(run_id)
    with service.store.read() as connection:
        search = searches.get(connection, run.search_id)
        attempts = runs.attempts_of(connection, run_id)
        names = points.names(connection, run_id=run_id)
    return views.run_details(run, search, attempts, names, service.outputs.count(run))


@router.post("/runs/stop")
def stop(body: RunIds, service: TheService) -> dict[str, Any]:
    """End runs politely; on a queued run this means kill."""
    return _end(service, body.ids, "stop")


@router.post("/runs/kill")
def kill(body: RunIds, service: TheService) -> dict[str, Any]:
    """End runs now."""
    return _end(service, body.ids, "kill")


def _end(service: Service, ids: list[int], want: Want) -> dict[str, Any]:
    ending, unknown = service.end_runs(ids, want)
    return {
        "stopped": ending.stopped,
        "killed": ending.killed,
        "final": ending.final,
        "unknown": unknown,
    }


@router.get("/runs/{run_id}/logs")
def logs(
    run_id: int,
    service: TheService,
    offset: Id = 0,
    limit: Annotated[int, Query(ge=1, le=4 * 1024 * 1024)] = 65536,
    tail_lines: Annotated[int | None, Query(ge=0, le=1_000_000)] = None,
) -> dict[str, Any]:
    """Return output of the newest attempt from a byte offset on, or its last lines."""
    run = service.run(run_id)
    with service.store.read() as connection:
        attempts = runs.attempts_of(connection, run_id)
    if not attempts:
        return {
            "text": "",
            "offset": 0,
            "next_offset": 0,
            "complete": run.state in FINAL_STATES,
            "dropped": 0,
        }
    attempt = attempts[-1]
    if tail_lines is not None:
        page = service.logs.tail(run_id, attempt.token, tail_lines)
    else:
        page = service.logs.read(run_id, attempt.token, offset, limit)
    done = run.state in FINAL_STATES and page.next_offset >= service.logs.size(run_id, attempt.token)
    return {
        "text": readable(page.data),
        "offset": page.offset,
        "next_offset": page.next_offset,
        "complete": done,
        "dropped": attempt.dropped,
    }


@router.get("/runs/{run_id}/metrics")
def metrics(
    run_id: int,
    service: TheService,
    name: str | None = None,
    after: Annotated[str | None, Query(pattern=r"^\d{1,18}\.\d{1,18}\.\d{1,18}$")] = None,
    limit: Limit = 1000,
) -> dict[str, Any]:
    """Return metric points of one run by pages, in order of arrival."""
    service.run(run_id)
    with service.store.read() as connection:
        found = points.page(connection, run_id=run_id, name=name, after=after, limit=limit)
    return points_page(found, limit)
