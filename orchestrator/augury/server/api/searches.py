"""Searches: submit, list, look at, stop, kill, resume."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from augury.errors import UsageError
from augury.objective import best_index
from augury.run import HELD_STATES
from augury.server import views
from augury.server.api.common import Id, Limit, Owner, TheService
from augury.spec import AGGREGATIONS, GOALS, Aggregation, Goal, SearchSpec
from augury.store import points, runs, searches
from augury.store.database import Connection
from augury.store.records import RunRecord, SearchRecord
from augury_workers.protocol import encode_value

router = APIRouter(tags=["searches"])
_SHOWN_AT_SUBMIT = 1000


class Submission(BaseModel):
    """A request for a search or a single run; `spec` is a SearchSpec in JSON."""

    spec: dict[str, Any]
    dry_run: bool = False


def read_spec(document: dict[str, Any]) -> SearchSpec:
    """Read a SearchSpec; raises `UsageError` when its shape is wrong."""
    try:
        return SearchSpec.from_json(document)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the request is malformed: {error}") from error


@router.post("/searches", status_code=201)
def submit(body: Submission, service: TheService, owner: Owner, response: Response) -> dict[str, Any]:
    """Check a search and start it; with `dry_run` only show what it would be."""
    spec = read_spec(body.spec)
    if spec.kind == "run":
        raise UsageError("a single run is submitted to /runs")
    submitted = service.submit(spec, owner, dry_run=body.dry_run)
    if submitted.search_id is None:
        response.status_code = 200
        shown = views.planned_json(submitted.plan, submitted.notices, _SHOWN_AT_SUBMIT)
        return {"search": shown, "notices": submitted.notices}
    with service.store.read() as connection:
        search = searches.get(connection, submitted.search_id)
        shown_runs = runs.of_search(connection, search.id, limit=_SHOWN_AT_SUBMIT)
        counts = searches.counts(connection, [search.id])[search.id]
    listed = [views.run_json(run, search) for run in shown_runs]
    document = views.search_json(search, counts=counts, best=None, runs=listed)
    return {"search": document, "notices": submitted.notices}


@router.get("/searches")
def list_searches(
    service: TheService,
    owner: Owner,
    limit: Limit = 50,
    before: Id | None = None,
    all: bool = False,
    label: str | None = None,
) -> dict[str, Any]:
    """List searches, newest first: one's own, or everybody's with `all`."""
    with service.store.read() as connection:
        found = searches.listing(
            connection, before=before, limit=limit, owner=None if all else owner, label=label
        )
        counts = searches.counts(connection, [search.id for search in found])
        documents = [
            views.search_json(search, counts=counts[search.id], best=_best_json(connection, search))
            for search in found
        ]
    return {"searches": documents, "next": found[-1].id if len(found) == limit else None}


@router.get("/searches/{search_id}")
def get_search(search_id: int, service: TheService) -> dict[str, Any]:
    """Return one search with its best run; its runs come by pages."""
    return _document(service, service.search(search_id))


def _document(service: TheService, search: SearchRecord) -> dict[str, Any]:
    with service.store.read() as connection:
        counts = searches.counts(connection, [search.id])[search.id]
        document = views.search_json(search, counts=counts, best=_best_json(connection, search))
    waits = search.state == "running" and counts.get("queued")
    # The local worker serves any type.
    machine_type = search.queue if service.settings.local else search.spec.machine_type or search.queue
    return document | {
        "waiting": service.workers.waiting_notice(machine_type, search.queue) if waits else None
    }


@router.get("/searches/{search_id}/runs")
def list_runs(
    search_id: int, service: TheService, after: Id = 0, limit: Limit = 1000, latest: str | None = None
) -> dict[str, Any]:
    """Return the runs of a search by pages, in order of their ids.

    `latest` names a metric: its newest point of each run under way stands beside the runs, by run id.
    """
    search = service.search(search_id)
    with service.store.read() as connection:
        found = runs.of_search(connection, search_id, after=after, limit=limit)
        held = [run.id for run in found if latest is not None and run.state in HELD_STATES]
        newest = points.latest(connection, held, latest) if latest is not None and held else {}
    documents = [views.run_json(run, search) for run in found]
    page: dict[str, Any] = {"runs": documents, "next": found[-1].id if len(found) == limit else None}
    if latest is not None:
        page["latest"] = {
            str(run): {"index": index, "value": encode_value(value)} for run, (index, value) in newest.items()
        }
    return page


@router.get("/searches/{search_id}/best")
def best(
    search_id: int,
    service: TheService,
    metric: str | None = None,
    metric_agg: str | None = None,
    goal: str | None = None,
) -> dict[str, Any]:
    """Return the best complete run; `metric`, `metric_agg` and `goal` may differ from those submitted."""
    search = service.search(search_id)
    if metric is None and search.spec.metric is None:
        raise UsageError(f"search {search_id} has no metric: name one with --metric")
    with service.store.read() as connection:
        return {"run": _best_json(connection, search, metric, metric_agg, goal)}


def _best_json(
    connection: Connection,
    search: SearchRecord,
    metric: str | None = None,
    metric_agg: str | None = None,
    goal: str | None = None,
) -> dict[str, Any] | None:
    spec = search.spec
    by: Goal = _one_of("--goal", goal, GOALS, spec.goal)
    aggregation: Aggregation = _one_of("--metric-agg", metric_agg, AGGREGATIONS, spec.metric_agg)
    if metric is None:
        metric = spec.metric
    if metric is None:
        return None
    landed = [run for run in searches.landed_runs(connection, search.id) if run.state == "complete"]
    if metric == spec.metric and aggregation == spec.metric_agg:
        objectives = [run.objective for run in landed]
    else:
        objectives = [
            points.objective(connection, run.id, run.token, metric, aggregation)[0] for run in landed
        ]
    position = best_index(objectives, by)
    if position is None:
        return None
    return views.run_json(landed[position], search) | {"objective": objectives[position]}


def _one_of(option: str, word: str | None, allowed: tuple[Any, ...], default: Any) -> Any:
    if word is None:
        return default
    if word not in allowed:
        raise UsageError(f"{option} {word}: use one of {', '.join(allowed)}")
    return word


@router.post("/searches/{search_id}/stop")
def stop(search_id: int, service: TheService) -> dict[str, Any]:
    """End a search politely: running runs stop, queued ones are killed."""
    ending = service.end_search(search_id, "stop")
    return _ending(service, search_id, ending.stopped, ending.killed, ending.final)


@router.post("/searches/{search_id}/kill")
def kill(search_id: int, service: TheService) -> dict[str, Any]:
    """End a search now."""
    ending = service.end_search(search_id, "kill")
    return _ending(service, search_id, ending.stopped, ending.killed, ending.final)


def _ending(
    service: TheService, search_id: int, stopped: list[int], killed: list[int], final: list[int]
) -> dict[str, Any]:
    document = _document(service, service.search(search_id))
    return {"search": document, "stopped": stopped, "killed": killed, "final": final}


@router.post("/searches/{search_id}/resume")
def resume(search_id: int, service: TheService) -> dict[str, Any]:
    """Let a paused search go on."""
    service.search(search_id)
    service.controller.resume(search_id)
    return {"search": _document(service, service.search(search_id))}


@router.get("/searches/{search_id}/metric-names")
def metric_names(search_id: int, service: TheService) -> dict[str, Any]:
    """Return the names of the metrics that its runs reported."""
    service.search(search_id)
    with service.store.read() as connection:
        return {"metric_names": points.names(connection, search_id=search_id)}


@router.get("/searches/{search_id}/metrics")
def metrics(
    search_id: int,
    service: TheService,
    name: str | None = None,
    after: str | None = Query(None, pattern=r"^\d{1,18}\.\d{1,18}\.\d{1,18}$"),
    limit: Limit = 5000,
) -> dict[str, Any]:
    """Return metric points of all its runs by pages."""
    service.search(search_id)
    with service.store.read() as connection:
        found = points.page(connection, search_id=search_id, name=name, after=after, limit=limit)
    return points_page(found, limit)


def points_page(found: list[points.RunPoint], limit: int) -> dict[str, Any]:
    """Return a page of points with the cursor of the next."""
    cursor = found[-1].cursor if len(found) == limit else None
    return {"points": [views.point_json(point) for point in found], "next": cursor}


def with_searches(connection: Connection, found: list[RunRecord]) -> list[tuple[RunRecord, SearchRecord]]:
    """Return runs of any searches, each with its search."""
    cache: dict[int, SearchRecord] = {}
    for run in found:
        if run.search_id not in cache:
            cache[run.search_id] = searches.get(connection, run.search_id)
    return [(run, cache[run.search_id]) for run in found]
