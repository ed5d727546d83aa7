"""Stores of earlier versions: each is opened by today's code and goes on. `make.py` beside them made them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from augury.spec import Command, RangeSpec, ValueSpec
from augury.store import access, drains, events, points, runs, schema, searches
from augury.store.database import Store
from augury.store.records import AttemptRecord
from tests.contract.store.databases import Database, claim, finish, get_run, get_search, new_search, structure
from tests.fixtures.stores import make

STORES = sorted(Path(make.__file__).parent.glob("*.sqlite"))
NOW = make.NOW


@pytest.fixture(params=STORES, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, folder: Path) -> Database:
    """A copy of a kept store."""
    path = folder / "store.db"
    shutil.copyfile(request.param, path)
    return Database("sqlite", f"sqlite:///{path}")


@pytest.fixture
def store(old: Database) -> Iterator[Store]:
    """That copy, opened by today's code."""
    yield old.open()
    old.end()


def test_a_store_of_every_schema_is_kept() -> None:
    assert [path.stem for path in STORES] == [f"{n:04}" for n in range(1, int(schema.SCHEMA) + 1)]


def test_an_old_store_gets_the_schema_of_a_new_one(old: Database, folder: Path) -> None:
    fresh = Database("sqlite", f"sqlite:///{folder / 'fresh.db'}")
    for database in (old, fresh):
        database.open()
        database.end()
    assert structure(old) == structure(fresh)
    assert old.execute("SELECT version_num FROM alembic_version") == schema.SCHEMA
    assert old.execute("PRAGMA integrity_check") == "ok"
    assert old.execute("SELECT count(*) FROM pragma_foreign_key_check") == 0


def test_old_searches_are_read(store: Store) -> None:
    grid, bayesian, single = (get_search(store, search_id) for search_id in (1, 2, -1))
    assert grid.spec == make.GRID
    assert grid.spec.command == Command(("python", "train.py", "--rate", ":rate:", "--name", ":name:"))
    assert grid.spec.space["rate"] == ValueSpec((0.001, 0.01), ("1e-3", "0.010"))
    assert (grid.kind, grid.state, grid.owner, grid.queue) == ("grid", "finished", "ada", "k80")
    assert (grid.created_runs, grid.memo, grid.environment) == (4, None, "0" * 64)
    assert (grid.created_at, grid.ended_at) == (NOW, NOW + 9)
    assert grid.notices == ["every point of the space was tried"]
    assert bayesian.spec == make.BAYESIAN
    assert bayesian.spec.space["layers"] == RangeSpec(2, 100, "linear", "int")
    assert (bayesian.state, bayesian.pause_reason) == ("paused", "three runs had no metric")
    assert (bayesian.memo, bayesian.created_runs, bayesian.ended_at) == ({"warm": [1, 2.5, None]}, 3, None)
    assert single.spec == make.SINGLE
    assert single.shown_id is None
    with store.read() as connection:
        listed = searches.listing(connection, before=None, limit=10, owner=None)
        assert [search.id for search in listed] == [2, 1]
        assert [search.id for search in searches.open_searches(connection)] == [2, -1]
        assert searches.counts(connection, [1, 2, -1]) == {
            1: {"complete": 2, "failed": 1, "killed": 1},
            2: {"queued": 2, "running": 1},
            -1: {"queued": 1},
        }


def test_old_runs_are_read(store: Store) -> None:
    first = get_run(store, 1)
    assert (first.state, first.token, first.attempts, first.lost) == ("complete", 2, 2, 1)
    assert (first.objective, first.exit_code, first.cause, first.worker) == (0.25, 0, "exit", "gpu-1/0")
    assert (first.queued_at, first.started_at, first.ended_at) == (NOW, NOW + 3, NOW + 9)
    assert dict(first.assignment.values) == {"rate": 0.001, "name": "a,b"}
    assert dict(first.assignment.texts) == {"rate": "1e-3", "name": "a,b"}
    assert (get_run(store, 2).detail, get_run(store, 2).exit_code) == ("it says why", 3)
    assert (get_run(store, 3).cause, get_run(store, 3).objective) == ("diverged", None)
    assert (get_run(store, 4).state, get_run(store, 4).want) == ("killed", "kill")
    assert dict(get_run(store, 6).assignment.values) == {"rate": 0.30000000000000004, "layers": 3}
    assert dict(get_run(store, 8).assignment.values) == {}
    with store.read() as connection:
        assert [run.id for run in searches.landed_runs(connection, 1)] == [1, 2, 3]
        assert runs.attempts_of(connection, 1) == [
            AttemptRecord(1, 1, 1, "nonce-1-1", "gpu-1/0", "lost", 0, NOW + 1, NOW + 2, None, "lost", 0, 0),
            AttemptRecord(
                1, 2, 2, "nonce-1-2", "gpu-1/0", "complete", 4, NOW + 3, NOW + 9, 0, "exit", 2048, 0
            ),
        ]
        ((held, attempt),) = runs.held(connection)
        assert (held.id, held.want, attempt.ack, attempt.log_bytes) == (5, "stop", 1, 64)
        listed = runs.listing(connection, before=None, limit=10, owner="ada")
        assert [run.id for run in listed] == [8, 4, 3, 2, 1]


def test_old_points_and_events_are_read(store: Store) -> None:
    with store.read() as connection:
        assert points.names(connection, search_id=1) == ["acc/étape", "loss"]
        assert points.objective(connection, 1, 2, "loss", "min") == (0.25, True)
        assert points.objective(connection, 3, 1, "loss", "min") == (None, True)
        found = [one.point.value for one in points.page(connection, run_id=1)]
        assert found[:5] == [0.5, 0.25, 0.75, math.inf, -math.inf]
        assert math.isnan(found[5])
        assert found[6:] == [0.1]
        told = events.after(connection, 0)
        states = [one.data["state"] for one in told if one.run_id == 1]
        assert states == ["running", "queued", "running", "complete"]
        assert json.dumps(told[0].data) == '{"state": "running"}'
        assert events.newest(connection) == told[-1].id
        assert access.owner_of(connection, make.TOKEN) == "ada"
        assert access.known_machine_types(connection) == ["K80", "RTX 4090"]


def test_drains_are_there_since_schema_0002(request: pytest.FixtureRequest, store: Store) -> None:
    with store.read() as connection:
        found = drains.drained(connection)
    if "[0001]" in request.node.name:
        assert found == {}
    else:
        assert found == {"k80@gpu-1": drains.Drain("k80@gpu-1", "new disk", "ada", NOW + 40)}


def test_an_old_store_goes_on(store: Store) -> None:
    assert finish(store, get_run(store, 5), 0.2)
    assert claim(store, 6).state == "running"
    assert store.writer.call(lambda c: searches.change_state(c, NOW + 50, 2, "running"))
    assert new_search(store, 2) == (3, [9, 10])
    assert new_search(store, 1, kind="run") == (-2, [11])
