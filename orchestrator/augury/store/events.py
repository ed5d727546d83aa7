"""Event rows: what changed, in order; readers follow them by id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from augury.store.schema import events

_INSERT = insert(events).returning(events.c.id)


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a search (`run_id` None) or of a run."""

    id: int
    time: float
    search_id: int
    run_id: int | None
    kind: str
    data: Mapping[str, Any]


def add(
    connection: Connection, now: float, search_id: int, run_id: int | None, kind: str, data: Mapping[str, Any]
) -> int:
    """Insert an event row and return its id."""
    row = {"time": now, "search_id": search_id, "run_id": run_id, "kind": kind, "data": json.dumps(data)}
    return int(connection.execute(_INSERT, row).scalar_one())


def add_all(
    connection: Connection,
    now: float,
    search_id: int,
    run_ids: Sequence[int],
    kind: str,
    data: Mapping[str, Any],
) -> None:
    """Insert the same event row for each of several runs of a search."""
    if run_ids:
        row = {"time": now, "search_id": search_id, "kind": kind, "data": json.dumps(data)}
        connection.execute(insert(events), [row | {"run_id": run_id} for run_id in run_ids])


PAGE = 500
"""Events that are read at a time."""

_AFTER = select(events).where(events.c.id > bindparam("after")).order_by(events.c.id).limit(bindparam("most"))


def after(
    connection: Connection,
    last: int,
    *,
    search_id: int | None = None,
    run_id: int | None = None,
    most: int = PAGE,
) -> Sequence[Event]:
    """Return the next events after id `last`, oldest first, of one search or run if named."""
    statement = _AFTER
    if search_id is not None:
        statement = statement.where(events.c.search_id == search_id)
    if run_id is not None:
        statement = statement.where(events.c.run_id == run_id)
    rows = connection.execute(statement, {"after": last, "most": most})
    return [
        Event(row.id, row.time, row.search_id, row.run_id, row.kind, json.loads(row.data)) for row in rows
    ]


def newest(connection: Connection) -> int:
    """Return the id of the newest event, 0 when there is none."""
    return connection.execute(select(func.max(events.c.id))).scalar_one() or 0


def last_change(connection: Connection, search_id: int) -> int:
    """Return the id of the event by which a search came into its present state."""
    statement = select(func.max(events.c.id)).where(
        events.c.search_id == search_id, events.c.kind == "search"
    )
    return connection.execute(statement).scalar_one() or 0


def remove(connection: Connection, event_id: int) -> None:
    """Take back an event of this transaction whose change did not apply."""
    connection.execute(delete(events).where(events.c.id == event_id))
