"""The writer: many closures in one transaction, answers after the commit, and one server at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from augury.errors import RefusedError, UnavailableError
from augury.store import access, schema, searches
from augury.store.database import FAILURES, Store
from tests.contract.store import steady_writer
from tests.contract.store.databases import NOW, Database, assignments, insert_search, new_search

SECONDS = 30
_ROOT = Path(__file__).parents[3]


def see(name: str) -> Callable[[Connection], None]:
    """Return a closure that stores one row."""
    return lambda connection: access.see_machine_type(connection, NOW, name, name)


def seen(store: Store) -> list[str]:
    """Return the rows that such closures stored."""
    with store.read() as connection:
        return access.known_machine_types(connection)


@contextmanager
def busy(store: Store) -> Iterator[None]:
    """Keep the writer busy, so that what is submitted meanwhile becomes one group."""
    inside, release = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        inside.set()
        assert release.wait(SECONDS)

    held = store.writer.submit(hold)
    assert inside.wait(SECONDS)
    try:
        yield
    finally:
        release.set()
    held.result(SECONDS)


def test_an_answer_comes_after_the_commit(store: Store) -> None:
    visible: list[bool] = []
    done = threading.Event()

    def look(future: Future[None]) -> None:
        visible.append("a" in seen(store))
        done.set()

    with busy(store):
        store.writer.submit(see("a")).add_done_callback(look)
    assert done.wait(SECONDS)
    assert visible == [True]


def test_what_queues_up_shares_a_transaction_and_keeps_its_order(store: Store) -> None:
    transactions: list[Any] = []
    order: list[int] = []

    def work(number: int) -> Callable[[Connection], int]:
        def closure(connection: Connection) -> int:
            transactions.append(connection.get_transaction())
            order.append(number)
            return number

        return closure

    with busy(store):
        futures = [store.writer.submit(work(number)) for number in range(100)]
    assert [future.result(SECONDS) for future in futures] == list(range(100))
    assert order == list(range(100))
    assert len({id(one) for one in transactions}) == 1


def test_a_failing_closure_takes_nothing_from_its_neighbours(store: Store) -> None:
    def fails(connection: Connection) -> None:
        see("half")(connection)
        raise ValueError("no")

    def violates(connection: Connection) -> None:
        see("other half")(connection)
        connection.execute(text("INSERT INTO counters (name, value) VALUES ('run', 5)"))

    with busy(store):
        before = [store.writer.submit(see(f"a{number}")) for number in range(5)]
        bad = store.writer.submit(fails)
        between = store.writer.submit(see("b"))
        worse = store.writer.submit(violates)
        after = [store.writer.submit(see(f"c{number}")) for number in range(5)]
    for future in (*before, between, *after):
        assert future.result(SECONDS) is None
    with pytest.raises(ValueError, match="no"):
        bad.result(SECONDS)
    with pytest.raises(IntegrityError):
        worse.result(SECONDS)
    assert seen(store) == ["a0", "a1", "a2", "a3", "a4", "b", "c0", "c1", "c2", "c3", "c4"]


def test_the_writer_goes_on_after_a_failure(store: Store) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            store.writer.call(lambda _: 1 // 0)
        assert store.writer.call(lambda _: 5) == 5


def test_a_cancelled_closure_is_left_out(store: Store) -> None:
    with busy(store):
        first = store.writer.submit(see("first"))
        cancelled = store.writer.submit(see("cancelled"))
        last = store.writer.submit(see("last"))
        assert cancelled.cancel()
    first.result(SECONDS)
    last.result(SECONDS)
    assert seen(store) == ["first", "last"]
    assert store.writer.call(lambda _: 1) == 1


def test_closing_commits_all_that_is_queued(database: Database) -> None:
    store = database.open()
    closer = threading.Thread(target=store.close)
    with busy(store):
        futures = [store.writer.submit(see(f"{number:04}")) for number in range(600)]
        closer.start()
    closer.join(SECONDS)
    assert not closer.is_alive()
    assert all(future.done() for future in futures)
    assert seen(database.open()) == [f"{number:04}" for number in range(600)]


def test_a_closed_store_takes_no_more_and_may_be_closed_again(store: Store) -> None:
    store.close()
    with pytest.raises(UnavailableError, match="closed"):
        store.writer.submit(see("late"))
    with pytest.raises(UnavailableError, match="closed"):
        store.writer.call(see("late"))
    store.close()


# --- one server at a time ---


def test_a_second_server_fences_the_first(database: Database) -> None:
    first = database.open()
    new_search(first, 1)
    second = database.open()
    refused = [first.writer.submit(see(f"old {number}")) for number in range(3)]
    for future in refused:
        with pytest.raises(RefusedError, match="another server has taken over"):
            future.result(SECONDS)
    assert new_search(second, 1) == (2, [2])
    assert seen(first) == []
    third = database.open()
    with pytest.raises(RefusedError, match="another server has taken over"):
        second.writer.call(see("old"))
    third.writer.call(see("new"))
    assert seen(first) == ["new"]


def test_a_write_under_way_ends_before_the_next_server_begins(database: Database) -> None:
    first = database.open()
    opened = threading.Event()
    order: list[str] = []

    def take_over() -> None:
        database.open()
        order.append("taken over")
        opened.set()

    thread = threading.Thread(target=take_over)

    def slow(connection: Connection) -> None:
        thread.start()
        if database.kind == "sqlite":
            opened.wait(0.2)
        else:
            while not opened.is_set() and not database.execute(_WAITING):
                pass
        see("slow")(connection)
        order.append("written")

    first.writer.call(slow)
    thread.join(SECONDS)
    assert order == ["written", "taken over"]
    with pytest.raises(RefusedError):
        first.writer.call(see("late"))


_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


# --- when the database goes away ---


def only_postgresql(database: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has no server")


def test_a_connection_lost_while_idle_is_replaced(database: Database, store: Store) -> None:
    only_postgresql(database)
    new_search(store, 1)
    database.cut_connections()
    assert new_search(store, 1) == (2, [2])


def test_a_connection_lost_in_the_middle_costs_nothing(database: Database, store: Store) -> None:
    only_postgresql(database)
    tries: list[int] = []

    def cut_once(connection: Connection) -> None:
        see("a")(connection)
        tries.append(1)
        if len(tries) == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with busy(store):
        futures = [store.writer.submit(work) for work in (_insert_one, cut_once, _insert_one, see("b"))]
    assert [future.result(SECONDS) for future in futures] == [1, None, 2, None]
    assert seen(store) == ["a", "b"]
    assert database.execute("SELECT count(*) FROM searches") == 2


def _insert_one(connection: Connection) -> int:
    return insert_search(connection)


def test_a_lock_that_stays_held_is_waited_for_once(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a group are told: each alone would wait for it again."""
    only_postgresql(database)
    tries: list[str] = []

    def waits(name: str) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            tries.append(name)
            connection.execute(text("SET LOCAL lock_timeout = '10ms'"))
            see(name)(connection)

        return work

    holder = psycopg2.connect(database.url)
    try:
        with busy(store), holder.cursor() as cursor:
            cursor.execute("LOCK TABLE machine_types IN ACCESS EXCLUSIVE MODE")
            futures = [store.writer.submit(waits(name)) for name in ("a", "b", "c")]
        for future in futures:
            with pytest.raises(OperationalError, match="lock timeout"):
                future.result(SECONDS)
        assert tries == ["a"]
    finally:
        holder.close()
    store.writer.call(see("d"))
    assert seen(store) == ["d"]


def test_a_read_only_database_is_named_and_asked_on_a_new_connection(
    database: Database, store: Store
) -> None:
    """The setting holds for sessions that begin: the one that met it is of no use when it is over."""
    only_postgresql(database)
    name = database.execute("SELECT current_database()")
    set_it = f"ALTER DATABASE {name} SET default_transaction_read_only = "
    with psycopg2.connect(database.url) as connection, connection.cursor() as cursor:
        cursor.execute(set_it + "on")
    connection.close()
    database.cut_connections()
    for _ in range(2):
        with pytest.raises(UnavailableError, match="the database is read-only now"):
            store.writer.call(see("a"))
    connection = psycopg2.connect(database.url, options="-c default_transaction_read_only=off")
    with connection, connection.cursor() as cursor:
        cursor.execute(set_it + "off")
    connection.close()
    store.writer.call(see("b"))
    assert seen(store) == ["b"]


def test_nothing_is_written_while_it_is_unknown_who_leads(store: Store) -> None:
    store.writer.hold(True)
    with pytest.raises(UnavailableError, match="the store does not answer"):
        store.writer.call(see("a"))
    store.writer.hold(False)
    store.writer.call(see("b"))
    assert seen(store) == ["b"]


def test_a_closure_that_always_cuts_the_connection_fails_alone(database: Database, store: Store) -> None:
    only_postgresql(database)

    def cut(connection: Connection) -> None:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with busy(store):
        good, bad, fine = (store.writer.submit(work) for work in (see("a"), cut, see("b")))
    good.result(SECONDS)
    fine.result(SECONDS)
    with pytest.raises(OperationalError):
        bad.result(SECONDS)
    assert seen(store) == ["a", "b"]


def test_a_commit_whose_answer_is_lost_is_not_repeated(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it holds is unknown: whoever asked is told so, and nothing is stored twice."""
    dialect = store._write_engine.dialect
    commit = dialect.do_commit

    def lose_answer(connection: Any) -> None:
        commit(connection)
        monkeypatch.undo()
        if database.kind == "postgresql":
            # What the driver raises when the server had no time to say why.
            raise psycopg2.DatabaseError("server closed the connection unexpectedly")
        raise dialect.loaded_dbapi.OperationalError("disk I/O error")

    with busy(store):
        futures = [store.writer.submit(_insert_one) for _ in range(3)]
        # The first commit is that of the closure that keeps the writer busy.
        commits = iter((commit, lose_answer))

        def do_commit(connection: Any) -> None:
            next(commits)(connection)

        monkeypatch.setattr(dialect, "do_commit", do_commit)
    for future in futures:
        with pytest.raises(FAILURES):
            future.result(SECONDS)
    assert database.execute("SELECT count(*) FROM searches") == 3
    assert store.writer.call(_insert_one) == 4


# --- kill -9 ---


def test_a_killed_server_leaves_a_whole_store(database: Database) -> None:
    """Each search has all its runs, and what was answered is there."""
    for _ in range(2):
        command = [sys.executable, "-m", steady_writer.__name__, database.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
            try:
                assert process.stdout is not None
                answered = [int(process.stdout.readline()) for _ in range(15)]
            finally:
                process.kill()
        store = database.open()
        with store.read() as connection:
            if database.kind == "sqlite":
                assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
            for search in searches.listing(connection, before=None, limit=10_000, owner=None):
                counted = searches.counts(connection, [search.id])[search.id]
                assert counted == {"queued": steady_writer.RUNS}
                assert search.created_runs == steady_writer.RUNS
            assert max(answered) <= connection.execute(select(func.max(schema.searches.c.id))).scalar_one()
        ids = database.execute("SELECT value FROM counters WHERE name = 'run'")
        assert database.execute("SELECT count(*) FROM runs") == ids
        assert database.execute("SELECT max(id) FROM runs") == ids
        store.close()


def test_assignments_are_stored_with_their_search_or_not_at_all(store: Store) -> None:
    def fails(connection: Connection) -> None:
        search_id = insert_search(connection)
        searches.add_runs(connection, NOW, search_id, 0, assignments(3), None)
        raise RuntimeError("late")

    with pytest.raises(RuntimeError):
        store.writer.call(fails)
    assert new_search(store, 2) == (1, [1, 2])


def test_callers_at_once_take_turns(store: Store) -> None:
    """Some write by themselves, some through the writer's thread: never two at the same time."""
    inside: list[int] = []
    most: list[int] = []

    def work(_: Connection) -> None:
        inside.append(1)
        most.append(len(inside))
        inside.pop()

    def many() -> None:
        for _ in range(50):
            store.writer.call(work)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert most == [1] * 200


def test_a_call_waits_for_what_was_submitted_before_it(store: Store) -> None:
    order: list[str] = []
    called = threading.Thread(target=lambda: store.writer.call(lambda _: order.append("second")))
    with busy(store):
        store.writer.submit(lambda _: order.append("first"))
        called.start()
    called.join(SECONDS)
    assert order == ["first", "second"]
