"""Searches: inserted with their runs in one transaction, and their few state changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from augury.run import OPEN_SEARCH_STATES, WEAKER, SearchState, Want
from augury.store import events
from augury.store.records import Assignment, RunRecord, SearchRecord
from augury.store.schema import counters, runs, searches

_NEXT = (
    update(counters)
    .where(counters.c.name == bindparam("counter"))
    .values(value=counters.c.value + bindparam("count"))
    .returning(counters.c.value)
)
_BY_ID = select(searches).where(searches.c.id == bindparam("id"))
_INSERT_RUNS = insert(runs)


def next_ids(connection: Connection, counter: str, count: int) -> int:
    """Take `count` consecutive ids from a counter and return the first."""
    last = connection.execute(_NEXT, {"counter": counter, "count": count}).scalar_one()
    return int(last) - count + 1


def insert_search(
    connection: Connection,
    now: float,
    *,
    kind: str,
    spec_text: str,
    environment: str | None,
    queue: str,
    owner: str,
    notices: Sequence[str],
) -> int:
    """Insert a running search without runs and return its id (negative for a single run)."""
    search_id = -next_ids(connection, "single", 1) if kind == "run" else next_ids(connection, "search", 1)
    connection.execute(
        insert(searches),
        {
            "id": search_id,
            "kind": kind,
            "state": "running",
            "spec": spec_text,
            "environment": environment,
            "queue": queue,
            "owner": owner,
            "notices": json.dumps(list(notices)),
            "created_at": now,
        },
    )
    events.add(connection, now, search_id, None, "search", {"state": "running"})
    return search_id


def add_runs(
    connection: Connection,
    now: float,
    search_id: int,
    position: int,
    assignments: Sequence[Assignment],
    memo: dict[str, Any] | None,
) -> int:
    """Insert queued runs from `position` on, with the sampler's memo, and return the first id.

    The search is expected to have exactly `position` runs: two suggestions for one place cannot
    both be stored (unique index).
    """
    first = next_ids(connection, "run", len(assignments))
    connection.execute(
        _INSERT_RUNS,
        [
            {
                "id": first + offset,
                "search_id": search_id,
                "position": position + offset,
                "state": "queued",
                "values": json.dumps(dict(assignment.values)),
                "texts": assignment.unusual_texts(),
                "queued_at": now,
            }
            for offset, assignment in enumerate(assignments)
        ],
    )
    connection.execute(
        update(searches)
        .where(searches.c.id == search_id)
        .values(created_runs=position + len(assignments), memo=json.dumps(memo) if memo is not None else None)
    )
    events.add(
        connection,
        now,
        search_id,
        None,
        "runs",
        {"first": first, "count": len(assignments), "state": "queued"},
    )
    return first


def change_state(
    connection: Connection,
    now: float,
    search_id: int,
    state: SearchState,
    *,
    notice: str | None = None,
    pause_reason: str | None = None,
) -> bool:
    """Move an open search to `state`, if it is not there already; return whether it was moved."""
    columns: dict[str, Any] = {"state": state, "pause_reason": pause_reason}
    if state not in OPEN_SEARCH_STATES:
        columns["ended_at"] = now
    statement = (
        update(searches)
        .where(
            searches.c.id == search_id, searches.c.state.in_(OPEN_SEARCH_STATES), searches.c.state != state
        )
        .values(columns)
    )
    if connection.execute(statement).rowcount == 0:
        return False
    if notice is not None:
        add_notice(connection, search_id, notice)
    data = {"state": state} | ({"reason": pause_reason} if pause_reason else {})
    events.add(connection, now, search_id, None, "search", data)
    return True


def add_notice(connection: Connection, search_id: int, notice: str) -> None:
    """Append a sentence to the notices of a search."""
    text = connection.execute(select(searches.c.notices).where(searches.c.id == search_id)).scalar_one()
    notices = json.dumps([*json.loads(text), notice])
    connection.execute(update(searches).where(searches.c.id == search_id).values(notices=notices))


def raise_want(connection: Connection, search_id: int, want: Want) -> None:
    """Record that a search shall stop or be killed; a weaker wish never replaces a stronger one."""
    statement = update(searches).where(
        searches.c.id == search_id,
        searches.c.state.in_(OPEN_SEARCH_STATES),
        searches.c.want.in_(WEAKER[want]),
    )
    connection.execute(statement.values(want=want))


def find(connection: Connection, search_id: int) -> SearchRecord | None:
    """Return a search, or None."""
    row = connection.execute(_BY_ID, {"id": search_id}).first()
    return SearchRecord.of(row) if row is not None else None


def get(connection: Connection, search_id: int) -> SearchRecord:
    """Return a search that is known to exist, such as that of a run."""
    return SearchRecord.of(connection.execute(_BY_ID, {"id": search_id}).one())


def open_searches(connection: Connection) -> list[SearchRecord]:
    """Return all searches that have not ended, oldest first."""
    statement = (
        select(searches)
        .where(searches.c.state.in_(OPEN_SEARCH_STATES))
        .order_by(searches.c.created_at, searches.c.id)
    )
    return [SearchRecord.of(row) for row in connection.execute(statement)]


def listing(
    connection: Connection, *, before: int | None, limit: int, owner: str | None, label: str | None = None
) -> list[SearchRecord]:
    """Return searches, newest first, with an id below `before`; fewer than `limit` when there are no more."""
    statement = select(searches).where(searches.c.id > 0).order_by(searches.c.id.desc()).limit(limit)
    if owner is not None:
        statement = statement.where(searches.c.owner == owner)
    found: list[SearchRecord] = []
    while True:
        page = statement if before is None else statement.where(searches.c.id < before)
        read = [SearchRecord.of(row) for row in connection.execute(page)]
        found += [search for search in read if label is None or label in search.spec.labels]
        if len(read) < limit or len(found) >= limit:
            return found[:limit]
        before = read[-1].id


def with_label(connection: Connection, label: str) -> list[int]:
    """Return the ids of all searches, and of those of one behind single runs, that carry a label."""
    likely = select(searches).where(searches.c.spec.contains(json.dumps(label), autoescape=True))
    found = (SearchRecord.of(row) for row in connection.execute(likely))
    return [search.id for search in found if label in search.spec.labels]


def counts(connection: Connection, search_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return the number of runs by state of each search."""
    statement = (
        select(runs.c.search_id, runs.c.state, func.count())
        .where(runs.c.search_id.in_(search_ids))
        .group_by(runs.c.search_id, runs.c.state)
    )
    found: dict[int, dict[str, int]] = {search_id: {} for search_id in search_ids}
    for search_id, state, count in connection.execute(statement):
        found[search_id][state] = count
    return found


def landed_runs(connection: Connection, search_id: int) -> list[RunRecord]:
    """Return the final runs of a search in the order in which their results landed."""
    statement = (
        select(runs).where(runs.c.search_id == search_id, runs.c.landed.is_not(None)).order_by(runs.c.landed)
    )
    return [RunRecord.of(row) for row in connection.execute(statement)]
