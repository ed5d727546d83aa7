"""Metric points: inserted in bulk, idempotent by (run, token, sequence, place)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Row, bindparam, select

from augury.objective import Point, aggregate
from augury.spec import Aggregation
from augury.store.schema import points, runs

_INSERT = (
    "INSERT INTO points (run_id, token, s, i, name, idx, value, time) VALUES ({}) ON CONFLICT DO NOTHING"
)
_SQLITE = _INSERT.format("?, ?, ?, ?, ?, ?, ?, ?")
_POSTGRES = _INSERT.format("%s, %s, %s, %s, %s, %s, %s, %s")


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


def insert_all(connection: Connection, rows: Sequence[PointRow]) -> None:
    """Insert rows, leaving out those that are there already."""
    if rows:
        statement = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES
        connection.exec_driver_sql(statement, [tuple(row) for row in rows])


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
    for row in connection.execute(_SERIES, {"run": run_id, "of_token": token, "metric": name}):
        yield _point(row)


def objective(
    connection: Connection, run_id: int, token: int, name: str, aggregation: Aggregation
) -> tuple[float | None, bool]:
    """Return the objective of an attempt, and whether it reported that metric at all."""
    found = list(series(connection, run_id, token, name))
    return aggregate(found, aggregation), bool(found)


def names(connection: Connection, *, search_id: int | None = None, run_id: int | None = None) -> list[str]:
    """Return the names of the metrics that a search or a run reported."""
    statement = select(points.c.name).distinct().order_by(points.c.name)
    if run_id is not None:
        statement = statement.where(points.c.run_id == run_id)
    if search_id is not None:
        members = select(runs.c.id).where(runs.c.search_id == search_id)
        statement = statement.where(points.c.run_id.in_(members))
    return list(connection.execute(statement).scalars())


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
    order = (points.c.run_id, points.c.s, points.c.i)
    statement = (
        select(points)
        .join(runs, (runs.c.id == points.c.run_id) & (runs.c.token == points.c.token))
        .order_by(*order)
        .limit(limit)
    )
    if search_id is not None:
        statement = statement.where(runs.c.search_id == search_id)
    if run_id is not None:
        statement = statement.where(points.c.run_id == run_id)
    if name is not None:
        statement = statement.where(points.c.name == name)
    if after:
        run, s, i = (int(part) for part in after.split("."))
        later = (points.c.run_id > run) | (
            (points.c.run_id == run) & ((points.c.s > s) | ((points.c.s == s) & (points.c.i > i)))
        )
        statement = statement.where(later)
    return [
        RunPoint(row.run_id, row.name, _point(row), f"{row.run_id}.{row.s}.{row.i}")
        for row in connection.execute(statement)
    ]
