"""Read connections: they see one state, and change none."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from augury.store import runs, schema, searches
from augury.store.database import Store
from tests.contract.store.databases import NOW, Database, assignments, new_search


@pytest.mark.parametrize(
    "statement",
    [
        insert(schema.machine_types).values(name="K80", queue="k80", seen_at=1.0),
        update(schema.runs).values(state="complete"),
        delete(schema.counters),
    ],
    ids=["insert", "update", "delete"],
)
def test_a_reader_cannot_write(store: Store, statement: object) -> None:
    search_id, _ = new_search(store, 2)
    with pytest.raises(DBAPIError, match=r"(?i)read-?only"), store.read() as connection:
        connection.execute(statement)  # type: ignore[call-overload]
    with store.read() as connection:
        assert searches.counts(connection, [search_id]) == {search_id: {"queued": 2}}
    assert new_search(store, 1)[1] == [3]


def test_a_reader_sees_one_state_while_others_write(store: Store) -> None:
    search_id, _ = new_search(store, 2)
    with store.read() as connection:
        before = runs.of_search(connection, search_id)
        store.writer.call(lambda c: searches.add_runs(c, NOW, search_id, 2, assignments(2, 2), None))
        store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id))
        assert runs.of_search(connection, search_id) == before
        assert searches.counts(connection, [search_id]) == {search_id: {"queued": 2}}
    with store.read() as connection:
        assert searches.counts(connection, [search_id]) == {search_id: {"killed": 4}}


def test_a_reader_sees_a_commit_as_soon_as_it_is_answered(store: Store) -> None:
    for expected in range(1, 6):
        new_search(store, 1)
        with store.read() as connection:
            assert connection.execute(select(func.count()).select_from(schema.runs)).scalar_one() == expected


def test_many_readers_at_once_do_not_wait_for_a_writer(store: Store) -> None:
    new_search(store, 3)
    inside, done = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        inside.set()
        assert done.wait(30)

    held = store.writer.submit(hold)
    assert inside.wait(30)
    together = threading.Barrier(16)

    def count(_: int) -> int:
        with store.read() as connection:
            together.wait(30)
            return int(connection.execute(select(func.count()).select_from(schema.runs)).scalar_one())

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(count, range(16))) == [3] * 16
    done.set()
    held.result(30)


def test_a_reader_outlives_a_restart_of_the_database(database: Database, store: Store) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has no server")
    new_search(store, 1)
    with store.read() as connection:
        runs.of_search(connection, 1)
    database.cut_connections()
    with store.read() as connection:
        assert len(runs.of_search(connection, 1)) == 1
