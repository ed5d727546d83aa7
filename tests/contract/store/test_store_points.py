"""Metric points: stored in bulk and once, read by pages, judged by their aggregation."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from augury.objective import Point
from augury.spec import AGGREGATIONS, Aggregation
from augury.store import points
from augury.store.database import Store
from augury.store.points import PointRow, RunPoint
from tests.contract.store.databases import NOW, Database, claim, get_run, lose, new_search, report

on_one_store = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Each example uses runs of its own."""

odd_values = [math.nan, math.inf, -math.inf, 0.0, 1.7e308, -1.7e308, 5e-324]
values = st.floats(width=64) | st.sampled_from(odd_values)


def new_run(store: Store) -> int:
    """Return the id of a run that is held under token 1."""
    _, (run_id,) = new_search(store, 1)
    claim(store, run_id)
    return run_id


def row(run_id: int, s: int = 1, i: int = 0, **fields: Any) -> PointRow:
    return PointRow(run_id, 1, s, i, "m", i, 0.5, NOW)._replace(**fields)


def insert(store: Store, rows: list[PointRow]) -> None:
    store.writer.call(lambda c: points.insert_all(c, rows))


def series(store: Store, run_id: int, name: str = "m", token: int = 1) -> list[Point]:
    with store.read() as connection:
        return list(points.series(connection, run_id, token, name))


def same(left: float | None, right: float | None) -> bool:
    if left is None or right is None:
        return left is right
    return left == right or (math.isnan(left) and math.isnan(right))


def page(store: Store, **query: Any) -> list[RunPoint]:
    with store.read() as connection:
        return points.page(connection, **query)


def all_pages(store: Store, limit: int, **query: Any) -> list[RunPoint]:
    """Follow the cursor to the end."""
    found: list[RunPoint] = []
    after: str | None = None
    while True:
        part = page(store, after=after, limit=limit, **query)
        found += part
        if len(part) < limit:
            return found
        after = part[-1].cursor


def test_a_report_that_comes_twice_is_stored_once(store: Store) -> None:
    run_id = new_run(store)
    first = [row(run_id, 1, i, value=float(i)) for i in range(3)]
    insert(store, first)
    insert(store, first)
    # The same places again within one batch, beside new ones, and with other values: the first stays.
    changed = [one._replace(value=99.0, name="other") for one in first]
    insert(store, [*changed, row(run_id, 2, 0, value=3.0), row(run_id, 2, 0, value=4.0), *first])
    insert(store, [])
    assert [point.value for point in series(store, run_id)] == [0.0, 1.0, 2.0, 3.0]
    assert series(store, run_id, "other") == []


def test_values_that_are_no_numbers_come_back(store: Store) -> None:
    run_id = new_run(store)
    given_values = [None, math.inf, -math.inf, 5e-324, -1.7976931348623157e308, 0.1, 1e22]
    report(store, get_run(store, run_id), 1, "m", given_values)
    found = [point.value for point in series(store, run_id)]
    expected = [math.nan if value is None else value for value in given_values]
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_indices_and_times_come_back(store: Store) -> None:
    run_id = new_run(store)
    indices = [0, -1, 2**63 - 1, -(2**63), 5, 5]
    insert(store, [row(run_id, 1, i, idx=idx, time=NOW + i / 7) for i, idx in enumerate(indices)])
    found = series(store, run_id)
    assert [point.index for point in found] == indices
    assert [point.time for point in found] == [NOW + i / 7 for i in range(6)]


def test_points_come_in_order_of_arrival_whatever_the_order_of_insertion(store: Store) -> None:
    run_id = new_run(store)
    rows = [row(run_id, s, i, idx=-s, value=s * 100.0 + i) for s in range(1, 12) for i in range(11)]
    random.Random(7).shuffle(rows)
    for start in range(0, len(rows), 17):
        insert(store, rows[start : start + 17])
    expected = [s * 100.0 + i for s in range(1, 12) for i in range(11)]
    assert [point.value for point in series(store, run_id)] == expected
    assert [one.point.value for one in page(store, run_id=run_id)] == expected


def test_a_hundred_thousand_points_are_stored_in_a_few_statements_and_read_by_pages(store: Store) -> None:
    search_id, ids = new_search(store, 20)
    for run_id in ids:
        claim(store, run_id)
    rows = [
        row(run_id, k // 500 + 1, k % 500, name="loss" if k % 2 else "acc", idx=k, value=k / 3)
        for run_id in ids
        for k in range(5000)
    ]
    statements: list[str] = []

    @event.listens_for(store._write_engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    insert(store, rows)
    assert len(statements) <= 15
    found = all_pages(store, 10_000, search_id=search_id)
    assert [one.cursor for one in found] == [f"{one.run_id}.{one.s}.{one.i}" for one in rows]
    assert [one.point.value for one in found] == [one.value for one in rows]
    named = all_pages(store, 7_000, search_id=search_id, name="loss")
    assert [one.cursor for one in named] == [f"{r.run_id}.{r.s}.{r.i}" for r in rows if r.name == "loss"]


@on_one_store
@given(data=st.data())
def test_pages_hold_every_point_once_and_only_those_that_count(store: Store, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=6), label="reports of each run")
    search_id, ids = new_search(store, len(sizes))
    other, (foreign,) = new_search(store, 1)
    expected: list[tuple[int, str, float]] = []
    rows: list[PointRow] = []
    for run_id, size in zip(ids, sizes, strict=True):
        run = claim(store, run_id)
        token = 1
        if data.draw(st.booleans(), label="was lost once"):
            rows += [row(run_id, s, 0, value=-1.0) for s in range(1, size + 2)]
            lost = lose(store, run)
            assert lost is not None
            token = lost.token
        for s in range(1, size + 1):
            for i in range(data.draw(st.integers(0, 3))):
                name = data.draw(st.sampled_from(["a", "b"]))
                rows.append(row(run_id, s, i, token=token, name=name, value=len(rows) / 2))
                expected.append((run_id, name, len(rows) / 2 - 0.5))
    rows.append(row(foreign, 1, 0))
    insert(store, rows)
    limit = data.draw(st.integers(1, 7), label="limit")
    for name in (None, "a"):
        wanted = [one for one in expected if name in (None, one[1])]
        found = all_pages(store, limit, search_id=search_id, name=name)
        assert [(one.run_id, one.name, one.point.value) for one in found] == wanted
        for run_id in ids:
            found = all_pages(store, limit, run_id=run_id, name=name)
            assert [one.point.value for one in found] == [one[2] for one in wanted if one[0] == run_id]
    with store.read() as connection:
        assert points.names(connection, search_id=other) == ["m"]


def steps_of(store: Store, work: Callable[[Connection], object]) -> int:
    """Return how many hundreds of steps SQLite's machine takes for what `work` reads."""
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        ticks += 1
        return 0

    with store.read() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(tick, 100)
        work(connection)
        raw.set_progress_handler(None, 0)
    return ticks


def test_a_page_reads_little_more_than_it_gives(database: Database, store: Store) -> None:
    """A page costs the same wherever it stands: what lies behind it is not sorted for it."""
    if database.kind == "postgresql":
        pytest.skip("counts the steps of SQLite's machine")
    search_id, ids = new_search(store, 40)
    insert(store, [row(run_id, s, 0) for run_id in ids for s in range(1, 501)])

    def read(connection: Connection, cursor: str | None) -> None:
        assert len(points.page(connection, search_id=search_id, after=cursor, limit=100)) == 100

    for cursor in (None, f"{ids[0]}.250.0", f"{ids[20]}.1.0", f"{ids[-1]}.300.0"):
        assert steps_of(store, lambda connection, cursor=cursor: read(connection, cursor)) < 300


def test_names_and_newest_points_cost_the_same_however_many_points_there_are(
    database: Database, store: Store
) -> None:
    if database.kind == "postgresql":
        pytest.skip("counts the steps of SQLite's machine")
    search_id, (run_id,) = new_search(store, 1)
    claim(store, run_id)
    insert(store, [row(run_id, 1, i, name="ab"[i % 2]) for i in range(20_000)])
    assert steps_of(store, lambda connection: points.names(connection, search_id=search_id)) < 10
    assert steps_of(store, lambda connection: points.names(connection, run_id=run_id)) < 10
    assert steps_of(store, lambda connection: points.latest(connection, [run_id], "a")) < 10


# --- the objective ---


def model(found: list[tuple[int, float]], aggregation: Aggregation) -> float | None:
    """The definition in words: see the meanings of `last`, `min`, `max` and `avg`."""
    if aggregation == "last":
        if not found:
            return None
        highest = max(index for index, _ in found)
        value = [value for index, value in found if index == highest][-1]
        return value if math.isfinite(value) else None
    finite = sorted(value for _, value in found if math.isfinite(value))
    if not finite:
        return None
    if aggregation == "avg":
        # Exactly, with integers, and rounded once.
        ratios = [value.as_integer_ratio() for value in finite]
        denominator = math.lcm(*(below for _, below in ratios))
        total = sum(above * (denominator // below) for above, below in ratios)
        return total / (denominator * len(finite))
    return finite[0] if aggregation == "min" else finite[-1]


@on_one_store
@given(found=st.lists(st.tuples(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1), values), max_size=12))
def test_the_objective_is_what_its_definition_says(store: Store, found: list[tuple[int, float]]) -> None:
    run_id = new_run(store)
    noise = [row(run_id, 1, 0, name="other", value=1e300), row(run_id, 1, 1, token=2, value=1e300)]
    rows = [
        row(run_id, 2 + k // 5, k % 5, idx=index, value=None if math.isnan(value) else value)
        for k, (index, value) in enumerate(found)
    ]
    insert(store, [*reversed(rows), *noise])
    with store.read() as connection:
        for aggregation in AGGREGATIONS:
            objective, reported = points.objective(connection, run_id, 1, "m", aggregation)
            assert reported is bool(found)
            expected = model(found, aggregation)
            if aggregation == "avg" and expected is not None:
                assert objective == pytest.approx(expected, rel=1e-15, abs=5e-323)
            else:
                assert objective == expected


# --- the newest ---


def test_the_newest_point_of_each_run_is_the_one_of_the_highest_index(store: Store) -> None:
    a, b, c, d = (new_run(store) for _ in range(4))
    insert(store, [row(a, 1, i, idx=index, value=float(i)) for i, index in enumerate([0, 7, 3, 7, 5])])
    insert(store, [row(b, 1, 0, value=math.nan), row(b, 1, 1, name="other"), row(c, 1, 0, name="other")])
    insert(store, [row(d, 1, 0, value=1.0)])
    with store.read() as connection:
        found = points.latest(connection, [a, b, c], "m")
    assert found.keys() == {a, b}
    assert found[a] == (7, 3.0)
    assert math.isnan(found[b][1])


def test_the_newest_point_is_one_of_the_attempt_that_counts(store: Store) -> None:
    run_id = new_run(store)
    insert(store, [row(run_id, idx=9)])
    lose(store, get_run(store, run_id))
    with store.read() as connection:
        assert points.latest(connection, [run_id], "m") == {}


# --- names ---


def test_the_names_of_metrics_are_those_reported(store: Store) -> None:
    search_id, (a, b) = new_search(store, 2)
    _, (c,) = new_search(store, 1)
    names = ["keras/val_acc", "loss: a.b c", "x<y>", '"q"', "\U0001f600", " "]
    insert(store, [row(a, 1, i, name=name) for i, name in enumerate(names)])
    insert(store, [row(b, 1, 0, name="loss"), row(c, 1, 0, name="zzz")])
    with store.read() as connection:
        assert sorted(points.names(connection, run_id=a)) == sorted(names)
        assert sorted(points.names(connection, search_id=search_id)) == sorted([*names, "loss"])
        assert points.names(connection, run_id=99) == []
    for i, name in enumerate(names):
        assert [one.cursor for one in page(store, run_id=a, name=name)] == [f"{a}.1.{i}"]


def test_the_names_of_lost_attempts_are_among_those_reported(store: Store) -> None:
    search_id, (a, b) = new_search(store, 2)
    insert(store, [row(a, token=1, name="x"), row(a, token=4, name="y"), row(b, token=2, name="x")])
    with store.read() as connection:
        assert points.names(connection, search_id=search_id) == ["x", "y"]
        assert points.names(connection, run_id=b) == ["x"]


def test_the_runs_that_reported_a_metric_are_told(store: Store) -> None:
    """What only a lost attempt reported does not count."""
    search_id, (a, b, c, d) = new_search(store, 4)
    for run_id in (a, b, c):
        report(store, claim(store, run_id), 1, "loss" if run_id != b else "acc", [1.0, 2.0])
    lost = lose(store, get_run(store, c))
    assert lost is not None
    _, (foreign,) = new_search(store, 1)
    report(store, claim(store, foreign), 1, "loss", [1.0])
    with store.read() as connection:
        assert points.reported(connection, search_id, "loss") == {a}
        assert points.reported(connection, search_id, "acc") == {b}
        assert points.reported(connection, search_id, "none") == set()
    report(store, claim(store, c, token=2), 1, "loss", [None])
    with store.read() as connection:
        assert points.reported(connection, search_id, "loss") == {a, c}
    assert get_run(store, d).state == "queued"


@pytest.mark.parametrize(
    "name",
    [
        "a\0b",
        "lone \ud800 surrogate",
        "".join(chr(random.Random(i).randrange(0x4E00, 0x9FFF)) for i in range(1000)),
        "".join(chr(random.Random(i).randrange(0x20000, 0x2A000)) for i in range(1000)),
        "x" * 10_000,
    ],
    ids=["NUL", "surrogate", "thousand Chinese characters", "thousand rare ones", "long"],
)
def test_any_name_can_be_stored_and_found_by_itself(store: Store, name: str) -> None:
    run_id = new_run(store)
    insert(store, [row(run_id, 1, i, name=name, value=float(i)) for i in range(3)])
    assert [point.value for point in series(store, run_id, name)] == [0.0, 1.0, 2.0]
    assert len(page(store, run_id=run_id, name=name)) == 3
    with store.read() as connection:
        (stored,) = points.names(connection, run_id=run_id)
        assert points.objective(connection, run_id, 1, name, "max") == (2.0, True)
        assert points.objective(connection, run_id, 1, stored, "max") == (2.0, True)
    assert len(stored.encode()) <= 2000
