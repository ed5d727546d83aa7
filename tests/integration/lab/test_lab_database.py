"""The database fails under a search: the server says so, goes on when it is back, and no run doubles."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psycopg2
import pytest

from tests.support.lab import Lab, wait_until
from tests.support.postgres import Postgres

pytestmark = pytest.mark.integration

RUNS = 8


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
        finally:
            made.end()


def start_search(lab: Lab) -> int:
    """Start a search whose runs each write two lines, and wait until two are under way."""
    trace = lab.folder / "trace"
    values = ",".join(str(number) for number in range(RUNS))
    command = f"echo :n: >> {trace}; sleep 1; echo ended :n: >> {trace}"
    said = lab.ok("hyper", "grid", "--param", f"n={values}", "-q", "--", command)
    wait_until(lambda: len(lines(lab)) >= 2, "two runs are under way")
    return int(said.split()[0])


def lines(lab: Lab) -> list[str]:
    """Return what the runs have written."""
    trace = lab.folder / "trace"
    return trace.read_text().splitlines() if trace.exists() else []


def assert_each_ran_once(lab: Lab, search: int) -> None:
    """The server is the same process; each run is complete, by its first attempt, and ran once."""
    lab.ok("hyper", "wait", str(search), "--timeout", "60")
    runs = lab.json("hyper", "describe", str(search))["runs"]
    assert [(run["state"], run["attempts"]) for run in runs] == [("complete", 1)] * RUNS
    wanted = [f"{ended}{number}" for number in range(RUNS) for ended in ("", "ended ")]
    assert Counter(lines(lab)) == Counter(wanted)
    assert [process.poll() for process in lab.processes] == [None] * 3


def answer(lab: Lab, path: str, body: object = None) -> tuple[int, str]:
    """Ask the server as a program would; return the status and the sentence of an error."""
    token = (lab.state / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(f"{lab.url}/api/v1/{path}", data, headers), timeout=30) as reply:
            return reply.status, ""
    except HTTPError as error:
        return error.code, str(json.loads(error.read())["error"])


def test_a_database_that_is_stopped_and_started_loses_nothing(lab: Lab, private: Postgres) -> None:
    search = start_search(lab)
    private.cut()
    try:
        began = time.monotonic()
        status, sentence = answer(lab, "runs")
        assert (status, sentence.partition(":")[0]) == (503, "the store does not answer")
        assert time.monotonic() - began < 5
        refused = lab.laptop("hyper", "grid", "--param", "n=1", "--", "echo :n:")
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "the store does not answer" in refused.stderr
        wait_until(lambda: sum("ended" in line for line in lines(lab)) >= 2, "trainings go on")
    finally:
        private.start()
    assert_each_ran_once(lab, search)
    assert lab.json("hyper", "list")[0]["id"] == search


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
        wait_until(lambda: sum("ended" in line for line in lines(lab)) >= 2, "trainings go on")
        refused = lab.laptop("hyper", "grid", "--param", "n=1", "--", "echo :n:")
        assert refused.returncode == 1
        assert "the database is read-only now" in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert answer(lab, "runs")[0] == 200
    finally:
        private.execute("ALTER SYSTEM RESET default_transaction_read_only")
        private.execute("SELECT pg_reload_conf()")
    assert_each_ran_once(lab, search)


def test_a_lock_that_is_held_for_long_loses_nothing(lab: Lab, private: Postgres) -> None:
    """Longer than the server waits for one; meanwhile users are told so."""
    search = start_search(lab)
    parameters = lab.database_url.partition("?")[0].rpartition("/")[2]
    holder = psycopg2.connect(host=str(private.folder), user="augury", dbname=parameters)
    try:
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        until = time.monotonic() + 25
        status, sentence = answer(lab, "runs")
        assert (status, sentence.partition(":")[0]) == (503, "the store does not answer")
        time.sleep(max(0.0, until - time.monotonic()))
    finally:
        holder.close()
    assert_each_ran_once(lab, search)
