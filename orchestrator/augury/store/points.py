"""Metric points: inserted in bulk, idempotent by (run, token, sequence, place)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, func, literal, select, tuple_

from augury.objective import Point, aggregate
from augury.spec import Aggregation
from augury.store.schema import points, runs, storable

_INSERT = "INSERT INTO points (run_id, token, s, i, name, idx, value, time) {} ON CONFLICT DO NOTHING"
_SQLITE = _INSERT.format("VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
# One array for each column: a statement for each row would be a round trip for each row.
_POSTGRES = _INSERT.format(
    "SELECT * FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::int[], "
    "%s::text[], %s::bigint[], %s::float8[], %s::float8[])"
)
_ROWS_AT_ONCE = 10_000
_RUNS_AT_ONCE = 10_000
_NAME_BYTES = 2000
"""An entry of an index of PostgreSQL has at most 2704 bytes."""


class PointRow(NamedTuple):
    """A row of `points`; `value` is None for NaN."""

    run_id: int
    token: int
    s: int
    i: int
    name: str
    idx: int
    value: float | None
    time: float


class RunPoint(NamedTuple):
    """A point with the run and the metric it belongs to, and the cursor that resumes behind it."""

    run_id: int
    name: str
    point: Point
    cursor: str


@lru_cache(maxsize=4096)
def _stored_name(name: str) -> str:
    """Return the name of a metric as it is stored: what no database takes is replaced, the rest cut off."""
    text = storable(name)
    return text if len(text) * 4 <= _NAME_BYTES else text.encode()[:_NAME_BYTES].decode(errors="ignore")


def insert_all(connection: Connection, rows: Sequence[PointRow]) -> None:
    """Insert rows, leaving out those that are there already."""
    ready = [row if (name := _stored_name(row.name)) == row.name else row._replace(name=name) for row in rows]
    for start in range(0, len(ready), _ROWS_AT_ONCE):
        portion = ready[start : start + _ROWS_AT_ONCE]
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(_SQLITE, [tuple(row) for row in portion])
        else:
            connection.exec_driver_sql(
                _POSTGRES, tuple(list(column) for column in zip(*portion, strict=True))
            )


def _point(row: Row[tuple[int, float | None, float]]) -> Point:
    return Point(row.idx, math.nan if row.value is None else row.value, row.time)


_SERIES = (
    select(points.c.idx, points.c.value, points.c.time)
    .where(
        points.c.run_id == bindparam("run"),
        points.c.token == bindparam("of_token"),
        points.c.name == bindparam("metric"),
    )
    .order_by(points.c.s, points.c.i)
)


def series(connection: Connection, run_id: int, token: int, name: str) -> Iterator[Point]:
    """Yield the points of one metric of one attempt in order of arrival."""
    for row in connection.execute(_SERIES, {"run": run_id, "of_token": token, "metric": _stored_name(name)}):
        yield _point(row)


def objective(
    connection: Connection, run_id: int, token: int, name: str, aggregation: Aggregation
) -> tuple[float | None, bool]:
    """Return the objective of an attempt, and whether it reported that metric at all."""
    found = list(series(connection, run_id, token, name))
    return aggregate(found, aggregation), bool(found)


def latest(connection: Connection, run_ids: Sequence[int], name: str) -> dict[int, tuple[int, float]]:
    """Return index and value of the newest point of a metric (the highest index, ties by arrival) by run.

    One statement, a few steps down an index for each run; runs whose attempt reported none are left out.
    """
    own = (points.c.run_id == runs.c.id) & (points.c.token == runs.c.token)
    newest = (
        select(points)
        .where(own, points.c.name == _stored_name(name))
        .order_by(points.c.idx.desc(), points.c.s.desc(), points.c.i.desc())
        .limit(1)
        .correlate(runs)
    )
    index = newest.with_only_columns(points.c.idx).scalar_subquery()
    value = newest.with_only_columns(points.c.value).scalar_subquery()
    found = connection.execute(select(runs.c.id, index, value).where(runs.c.id.in_(run_ids)))
    return {
        run_id: (idx, math.nan if number is None else number)
        for run_id, idx, number in found
        if idx is not None
    }


def names(connection: Connection, *, search_id: int | None = None, run_id: int | None = None) -> list[str]:
    """Return the names of the metrics that a search or a run reported.

    From name to name down the index, by run and attempt: it takes as long as there are names, not points.
    """
    first_token = select(func.min(points.c.token)).where(points.c.run_id == runs.c.id).scalar_subquery()
    members = select(runs.c.id.label("run_id"), first_token.label("token"))
    if search_id is not None:
        members = members.where(runs.c.search_id == search_id)
    if run_id is not None:
        members = members.where(runs.c.id == run_id)
    tokens = members.cte("tokens", recursive=True)
    next_token = (
        select(func.min(points.c.token))
        .where(points.c.run_id == tokens.c.run_id, points.c.token > tokens.c.token)
        .scalar_subquery()
    )
    tokens = tokens.union_all(select(tokens.c.run_id, next_token).where(tokens.c.token.is_not(None)))
    own = (points.c.run_id == tokens.c.run_id) & (points.c.token == tokens.c.token)
    first_name = select(func.min(points.c.name)).where(own).scalar_subquery()
    found = select(tokens.c.run_id, tokens.c.token, first_name.label("name")).cte("found", recursive=True)
    own = (points.c.run_id == found.c.run_id) & (points.c.token == found.c.token)
    next_name = select(func.min(points.c.name)).where(own, points.c.name > found.c.name).scalar_subquery()
    found = found.union_all(select(found.c.run_id, found.c.token, next_name).where(found.c.name.is_not(None)))
    statement = select(found.c.name).where(found.c.name.is_not(None)).distinct().order_by(found.c.name)
    return list(connection.execute(statement).scalars())


def reported(connection: Connection, search_id: int, name: str) -> set[int]:
    """Return the runs of a search of which the attempt that counts reported that metric."""
    own = (
        (points.c.run_id == runs.c.id)
        & (points.c.token == runs.c.token)
        & (points.c.name == _stored_name(name))
    )
    statement = select(runs.c.id).where(runs.c.search_id == search_id, select(points.c.s).where(own).exists())
    return set(connection.execute(statement).scalars())


def page(
    connection: Connection,
    *,
    search_id: int | None = None,
    run_id: int | None = None,
    name: str | None = None,
    after: str | None = None,
    limit: int = 1000,
) -> list[RunPoint]:
    """Return points of the attempts that count, by run and order of arrival, behind cursor `after`."""
    statement = select(points).join(runs, (runs.c.id == points.c.run_id) & (runs.c.token == points.c.token))
    members = select(runs.c.id).order_by(runs.c.id)
    if search_id is not None:
        statement = statement.where(runs.c.search_id == search_id)
        members = members.where(runs.c.search_id == search_id)
    if run_id is not None:
        statement = statement.where(runs.c.id == run_id)
        members = members.where(runs.c.id == run_id)
    if name is not None:
        statement = statement.where(points.c.name == _stored_name(name))
    found: list[RunPoint] = []
    run = 0
    if after:
        run, s, i = (int(part) for part in after.split("."))
        rest = (points.c.run_id == run) & (tuple_(points.c.s, points.c.i) > tuple_(literal(s), literal(i)))
        found = _read(connection, statement, rest, limit)
    # A few runs at a time, more where they have few points: sorting all of a search for each page is slow.
    at_once = 1
    while len(found) < limit:
        following = members.where(runs.c.id > run).limit(at_once)
        ids = list(connection.execute(following).scalars())
        if not ids:
            break
        found += _read(connection, statement, points.c.run_id.in_(ids), limit - len(found))
        run = ids[-1]
        at_once = min(2 * at_once, _RUNS_AT_ONCE)
    return found


def _read(
    connection: Connection, statement: Select[Any], where: ColumnElement[bool], limit: int
) -> list[RunPoint]:
    ordered = statement.where(where).order_by(points.c.run_id, points.c.s, points.c.i).limit(limit)
    return [
        RunPoint(row.run_id, row.name, _point(row), f"{row.run_id}.{row.s}.{row.i}")
        for row in connection.execute(ordered)
    ]
