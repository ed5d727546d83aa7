"""The database fails under a search: the server says so, goes on when it is back, and no run doubles."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.integration.lab.lab_search import (
    answer,
    assert_each_ran_once,
    opened,
    refusal,
    start_search,
    wait_until_some_ended,
)
from tests.support.lab import Lab
from tests.support.postgres import Postgres

pytestmark = pytest.mark.integration

NO_STORE = (503, "the store does not answer")


@pytest.fixture(scope="module")
def private() -> Iterator[Postgres]:
    """A PostgreSQL server that no other test uses, whose commits survive its death."""
    server = Postgres(synchronous_commit="on")
    yield server
    server.stop()


@pytest.fixture
def lab(private: Postgres) -> Iterator[Lab]:
    """A lab with a server, a worker with two slots, and a database to be ill-treated."""
    with tempfile.TemporaryDirectory(prefix="augury-lab-") as name:
        made = Lab(Path(name), private.url(private.create_database()))
        try:
            made.start_broker()
            made.serve()
            made.worker("CPU", 2)
            made.wait_for_slots(2)
            yield made
            # No process has ended by itself, and nothing was taken for a bug.
            assert [process.poll() for process in made.processes] == [None] * 3
            assert "Traceback" not in made.said(), made.said()
        finally:
            made.end()


def test_a_database_that_is_stopped_and_started_loses_nothing(lab: Lab, private: Postgres) -> None:
    search = start_search(lab)
    events = opened(lab, f"events?search={search}&after=0")
    private.cut()
    try:
        began = time.monotonic()
        assert answer(lab, "runs") == NO_STORE
        assert time.monotonic() - began < 5
        assert "the store does not answer" in refusal(lab)
        wait_until_some_ended(lab)
    finally:
        private.start()
    assert_each_ran_once(lab, search)
    # Who followed the search has not been cut off.
    with events:
        assert any(b'"finished"' in line for line in events)
    assert [one["id"] for one in lab.json("hyper", "list")] == [search]


def test_connections_that_are_cut_again_and_again_lose_nothing(lab: Lab, private: Postgres) -> None:
    search = start_search(lab)
    for _ in range(15):
        private.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname IS NOT NULL AND datname <> 'postgres'"
        )
        time.sleep(0.2)
    assert_each_ran_once(lab, search)


def test_a_database_that_is_read_only_for_a_while_loses_nothing(lab: Lab, private: Postgres) -> None:
    search = start_search(lab)
    private.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        private.execute("SELECT pg_reload_conf()")
        wait_until_some_ended(lab)
        assert "the database is read-only now" in refusal(lab)
        assert answer(lab, "runs") == (200, "")
    finally:
        private.execute("ALTER SYSTEM RESET default_transaction_read_only")
        private.execute("SELECT pg_reload_conf()")
    assert_each_ran_once(lab, search)


def test_a_lock_that_is_held_for_long_loses_nothing(lab: Lab, private: Postgres) -> None:
    """Longer than the server waits for one; meanwhile users are told so."""
    search = start_search(lab)
    name = lab.database_url.partition("?")[0].rpartition("/")[2]
    holder = psycopg2.connect(host=str(private.folder), user="augury", dbname=name)
    try:
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        until = time.monotonic() + 25
        assert answer(lab, "runs") == NO_STORE
        time.sleep(max(0.0, until - time.monotonic()))
    finally:
        holder.close()
    assert_each_ran_once(lab, search)
