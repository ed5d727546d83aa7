"""Runs: created in bulk, claimed once, ended once, lost and queued again, stopped and killed."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
from sqlalchemy import Connection, create_engine, event, text, update
from sqlalchemy.exc import IntegrityError

from augury.run import FINAL_STATES, HELD_STATES, MAX_LOST_ATTEMPTS, Ended, Want, stronger
from augury.store import events, runs, schema, searches
from augury.store.database import Store
from augury.store.records import Assignment, AttemptRecord, RunRecord
from augury.store.runs import Output
from tests.contract.store import claimer
from tests.contract.store.databases import (
    NOW,
    Database,
    assignments,
    claim,
    finish,
    get_run,
    get_search,
    insert_search,
    lose,
    new_search,
)

WANTS: tuple[Want, ...] = ("", "stop", "kill")


def attempts_of(store: Store, run_id: int) -> list[AttemptRecord]:
    with store.read() as connection:
        return runs.attempts_of(connection, run_id)


def put(store: Store, run_id: int, **columns: object) -> None:
    """Change columns of a run behind the back of the verbs."""
    statement = update(schema.runs).where(schema.runs.c.id == run_id).values(columns)
    store.writer.call(lambda c: c.execute(statement))


# --- creating ---


def test_ids_are_consecutive_and_without_gaps_whoever_asks_at_once(store: Store) -> None:
    """Eight submitters at once, every third of which fails: its ids are given to the next."""

    def submit(number: int) -> tuple[int, range] | None:
        def work(connection: Connection) -> tuple[int, range]:
            search_id = insert_search(connection)
            first = searches.add_runs(connection, NOW, search_id, 0, assignments(1 + number % 4), None)
            if number % 3 == 0:
                raise RuntimeError("changed its mind")
            return search_id, range(first, first + 1 + number % 4)

        try:
            return store.writer.call(work)
        except RuntimeError:
            return None

    with ThreadPoolExecutor(8) as pool:
        stored = [one for one in pool.map(submit, range(60)) if one is not None]
    assert sorted(search_id for search_id, _ in stored) == list(range(1, 41))
    ids = sorted(run_id for _, members in stored for run_id in members)
    assert ids == list(range(1, len(ids) + 1))
    with store.read() as connection:
        for search_id, members in stored:
            found = runs.of_search(connection, search_id)
            assert [run.id for run in found] == list(members)
            assert [run.position for run in found] == list(range(len(members)))


def test_ids_are_without_gaps_over_many_connections(database: Database) -> None:
    if database.kind == "sqlite":
        pytest.skip("SQLite has one writing connection")
    engine = create_engine(database.url, pool_size=4)
    taken: list[int] = []

    def take(number: int) -> None:
        with engine.connect() as connection, connection.begin() as transaction:
            first = searches.next_ids(connection, "run", 3)
            if number % 4 == 0:
                transaction.rollback()
            else:
                taken.extend(range(first, first + 3))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, range(40)))
    engine.dispose()
    assert sorted(taken) == list(range(1, len(taken) + 1))


def test_a_grid_of_ten_thousand_runs_is_one_insert(store: Store) -> None:
    statements: list[str] = []

    @event.listens_for(store._write_engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    search_id, ids = new_search(store, 10_000)
    assert ids == list(range(1, 10_001))
    # PostgreSQL takes a thousand rows at a time.
    assert len(statements) <= 20
    with store.read() as connection:
        assert searches.counts(connection, [search_id]) == {search_id: {"queued": 10_000}}
        found = runs.of_search(connection, search_id)
        told = events.after(connection, 0, search_id=search_id)
    assert [run.id for run in found] == ids
    assert [run.assignment.values["x"] for run in found] == [i / 8 for i in range(10_000)]
    assert [one.data for one in told if one.kind == "runs"] == [
        {"first": 1, "count": 10_000, "state": "queued"}
    ]
    assert get_search(store, search_id).created_runs == 10_000


def test_two_suggestions_for_one_place_are_not_both_stored(store: Store) -> None:
    search_id, _ = new_search(store, 3)
    with pytest.raises(IntegrityError):
        store.writer.call(lambda c: searches.add_runs(c, NOW, search_id, 2, assignments(2), {"late": 1}))
    search = get_search(store, search_id)
    assert (search.created_runs, search.memo) == (3, None)
    first = store.writer.call(lambda c: searches.add_runs(c, NOW, search_id, 3, assignments(2), {"n": 5}))
    assert first == 4
    search = get_search(store, search_id)
    assert (search.created_runs, search.memo) == (5, {"n": 5})
    other, ids = new_search(store, 1)
    assert ids == [6]
    assert get_search(store, other).created_runs == 1


def test_a_run_begins_queued_with_its_values_as_they_were_typed(store: Store) -> None:
    values = {
        "rate": 1e-8,
        "layers": 2**60 + 1,
        "name": "a,b 'c' \"d\" \0 é \U0001f600 \udcff",
        "bias": True,
        "tiny": 5e-324,
        "third": 0.1 + 0.2,
    }
    texts = {
        "rate": "0.00000001",
        "layers": "7",
        "name": "x",
        "bias": "True",
        "tiny": "5e-324",
        "third": ".3",
    }
    plain = Assignment({"x": 0.5, "y": False, "z": "w"}, {"x": "0.5", "y": "false", "z": "w"})

    def work(connection: Connection) -> int:
        search_id = insert_search(connection)
        return searches.add_runs(connection, NOW, search_id, 0, [Assignment(values, texts), plain], None)

    first = store.writer.call(work)
    run = get_run(store, first)
    assert dict(run.assignment.values) == values
    assert [type(value) for value in run.assignment.values.values()] == [type(v) for v in values.values()]
    assert dict(run.assignment.texts) == texts
    usual = get_run(store, first + 1)
    assert usual.texts_text is None
    assert usual.assignment == plain
    assert usual == RunRecord(
        id=2,
        search_id=1,
        position=1,
        state="queued",
        want="",
        token=1,
        nonce="",
        values_text=usual.values_text,
        texts_text=None,
        attempts=0,
        lost=0,
        worker=None,
        objective=None,
        exit_code=None,
        cause=None,
        detail=None,
        landed=None,
        queued_at=NOW,
        started_at=None,
        ended_at=None,
    )


def test_records_have_the_columns_of_their_tables_in_the_same_order() -> None:
    named = {"values": "values_text", "texts": "texts_text"}
    columns = [named.get(column.name, column.name) for column in schema.runs.columns]
    assert columns == list(RunRecord.__dataclass_fields__)
    assert [column.name for column in schema.attempts.columns] == list(AttemptRecord.__dataclass_fields__)


# --- claiming ---


def test_a_claim_gives_the_run_and_opens_an_attempt(store: Store) -> None:
    search_id, (run_id, _) = new_search(store, 2)
    run = claim(store, run_id, "abc")
    assert run == get_run(store, run_id)
    assert (run.state, run.nonce, run.worker, run.attempts) == ("running", "abc", "host-1/0", 1)
    assert (run.token, run.started_at, run.ended_at) == (1, NOW + 1, None)
    with store.read() as connection:
        assert runs.open_attempt(connection, run_id, 1) == AttemptRecord(
            run_id, 1, 1, "abc", "host-1/0", "running", 0, NOW + 1, None, None, None, 0, 0
        )
        assert runs.open_attempt(connection, run_id, 2) is None
        assert [(one.id, attempt.nonce) for one, attempt in runs.held(connection)] == [(run_id, "abc")]
        assert runs.open_tokens(connection, search_id) == [(run_id, 1, "running"), (run_id + 1, 1, "queued")]


def test_a_run_that_is_not_queued_is_not_given(store: Store) -> None:
    states = [*HELD_STATES, *FINAL_STATES]
    _, ids = new_search(store, len(states))
    for run_id, state in zip(ids, states, strict=True):
        put(store, run_id, state=state)
        before = get_run(store, run_id)
        assert store.writer.call(lambda c, r=run_id: runs.claim(c, NOW, r, 1, "n", "w")) is None
        assert get_run(store, run_id) == before
        assert attempts_of(store, run_id) == []


def test_a_run_is_not_given_for_an_old_token_a_wish_or_an_unknown_id(store: Store) -> None:
    _, (run_id, wanted) = new_search(store, 2)
    assert store.writer.call(lambda c: runs.renew_tokens(c, [run_id])) == {run_id: 2}
    put(store, wanted, want="stop")
    for target, token in ((run_id, 1), (run_id, 3), (run_id, 0), (wanted, 1), (99, 1), (-1, 1)):
        assert store.writer.call(lambda c, t=target, k=token: runs.claim(c, NOW, t, k, "n", "w")) is None
    assert attempts_of(store, run_id) == []
    assert claim(store, run_id, token=2).state == "running"
    assert store.writer.call(lambda c: runs.claim(c, NOW, run_id, 2, "n", "w")) is None


def test_eight_at_once_get_each_of_2000_runs_once(database: Database, store: Store) -> None:
    search_id, ids = new_search(store, 2000)
    if database.kind == "sqlite":
        got = _claim_by_threads(store, ids)
    else:
        got = _claim_by_processes(database.url, search_id)
    with store.read() as connection:
        assert searches.counts(connection, [search_id]) == {search_id: {"running": 2000}}
        held = runs.held(connection)
        told = events.after(connection, 0, search_id=search_id, most=10_000)
    owners = {run_id: nonce for nonce, claimed in got.items() for run_id in claimed}
    assert sorted(run_id for claimed in got.values() for run_id in claimed) == ids
    assert {run.id: run.nonce for run, _ in held} == owners
    assert {run.id: attempt.nonce for run, attempt in held} == owners
    assert Counter(one.run_id for one in told if one.kind == "run") == Counter(ids)


def _claim_by_threads(store: Store, ids: list[int]) -> dict[str, list[int]]:
    """On SQLite all write through one thread; eight others ask it."""
    start = threading.Barrier(8)

    def work(nonce: str) -> list[int]:
        start.wait()
        futures = [
            (run_id, store.writer.submit(lambda c, r=run_id: runs.claim(c, NOW, r, 1, nonce, nonce)))
            for run_id in ids
        ]
        return [run_id for run_id, future in futures if future.result(60) is not None]

    with ThreadPoolExecutor(8) as pool:
        nonces = [f"worker-{number}" for number in range(8)]
        return dict(zip(nonces, pool.map(work, nonces), strict=True))


def _claim_by_processes(url: str, search_id: int) -> dict[str, list[int]]:
    nonces = [f"worker-{number}" for number in range(8)]
    # Forked from a process that has imported everything: eight fresh interpreters would take longer.
    context = get_context("forkserver")
    context.set_forkserver_preload([claimer.__name__])
    with context.Pool(8, claimer.prepare, (context.Barrier(8),)) as pool:
        results = pool.starmap(claimer.work, [(url, search_id, nonce) for nonce in nonces], chunksize=1)
    assert sum(refused for _, refused in results), "nobody was ever refused: they did not meet"
    return {nonce: given for nonce, (given, _) in zip(nonces, results, strict=True)}


# --- ending ---


def test_the_holder_ends_its_run(store: Store) -> None:
    search_id, ids = new_search(store, len(FINAL_STATES))
    for run_id, state in zip(ids, FINAL_STATES, strict=True):
        run = claim(store, run_id)
        ended = Ended(state, "signal", -9, "it was too much")
        output = Output(8, 2**41, 77)
        after = store.writer.call(lambda c, r=run, e=ended: runs.finish(c, NOW + 9, r, e, 0.1 + 0.2, output))  # noqa: B023
        assert after == get_run(store, run_id)
        assert after is not None
        assert (after.state, after.cause, after.exit_code) == (state, "signal", -9)
        assert (after.detail, after.objective, after.ended_at) == ("it was too much", 0.1 + 0.2, NOW + 9)
        assert (after.token, after.nonce) == (1, "n")
        (attempt,) = attempts_of(store, run_id)
        assert (attempt.state, attempt.cause, attempt.exit_code) == (state, "signal", -9)
        assert (attempt.ended_at, attempt.ack, attempt.log_bytes, attempt.dropped) == (NOW + 9, 8, 2**41, 77)
        last = _events(store)[-1]
        assert (after.landed, last.run_id) == (last.id, run_id)
        expected = {"state": state, "objective": 0.1 + 0.2, "cause": "signal", "exit_code": -9}
        assert (last.kind, dict(last.data)) == ("run", expected)
    with store.read() as connection:
        assert runs.held(connection) == []
        assert runs.open_tokens(connection, search_id) == []


def test_a_run_ends_once_and_only_by_its_holder(store: Store) -> None:
    _, (run_id,) = new_search(store, 1)
    first = claim(store, run_id, "first")
    again = lose(store, first)
    assert again is not None
    second = claim(store, run_id, "second", token=2)
    before = get_run(store, run_id), _events(store)
    stale = [
        first,
        again,
        RunRecord(**{**_fields(second), "nonce": "guess"}),
        RunRecord(**{**_fields(second), "token": 1}),
        RunRecord(**{**_fields(second), "token": 3}),
    ]
    for record in stale:
        assert not finish(store, record, 1.0)
        assert lose(store, record) is None
    assert (get_run(store, run_id), _events(store)) == before
    assert finish(store, second, 0.5)
    ended = get_run(store, run_id), _events(store)
    assert not finish(store, second, 0.7)
    assert not finish(store, second, None, ended=Ended("failed", "exit", 1))
    assert lose(store, second) is None
    assert (get_run(store, run_id), _events(store)) == ended
    assert [attempt.state for attempt in attempts_of(store, run_id)] == ["lost", "complete"]


def _fields(run: RunRecord) -> dict[str, object]:
    return {name: getattr(run, name) for name in RunRecord.__dataclass_fields__}


def _events(store: Store) -> list[events.Event]:
    with store.read() as connection:
        return list(events.after(connection, 0, most=10_000))


def test_a_run_queued_is_not_ended_by_anybody(store: Store) -> None:
    _, (run_id,) = new_search(store, 1)
    queued = get_run(store, run_id)
    assert not finish(store, queued)
    assert lose(store, queued) is None
    assert get_run(store, run_id) == queued


def test_what_an_attempt_reported_is_remembered(store: Store) -> None:
    _, (run_id,) = new_search(store, 1)
    run = claim(store, run_id)
    store.writer.call(lambda c: runs.acknowledge(c, (run_id, 1), 12, 2**40, None, None))
    (attempt,) = attempts_of(store, run_id)
    assert (attempt.ack, attempt.log_bytes, attempt.exit_code, attempt.cause) == (12, 2**40, None, None)
    store.writer.call(lambda c: runs.acknowledge(c, (run_id, 1), 13, 2**40, 3, "exit"))
    (attempt,) = attempts_of(store, run_id)
    assert (attempt.ack, attempt.exit_code, attempt.cause, attempt.state) == (13, 3, "exit", "running")
    assert finish(store, run, None, ended=Ended("failed", "exit", 3))


def test_what_became_of_a_run_is_told_as_it_is_stored(store: Store) -> None:
    """The record of its claim does not know of a wish that came later."""
    _, (run_id,) = new_search(store, 1)
    run = claim(store, run_id)
    store.writer.call(lambda c: runs.raise_want(c, [run_id], "stop"))
    ended = Ended("stopped", "stopped", None)
    after = store.writer.call(lambda c: runs.finish(c, NOW, run, ended, None, Output(1, 0, 0)))
    assert after == get_run(store, run_id)
    assert after is not None
    assert after.want == "stop"


# --- losing ---


def test_a_search_says_how_often_a_lost_run_is_queued_again(store: Store) -> None:
    _, (first, second) = new_search(store, 2)
    taken = claim(store, first, "n1")
    after = store.writer.call(lambda c: runs.lose(c, NOW, taken, "gone", retries=0))
    assert after is not None
    assert after.state == "interrupted"
    for lost in range(1, 5):
        taken = claim(store, second, f"m{lost}", token=lost)
        after = store.writer.call(lambda c, run=taken: runs.lose(c, NOW, run, "gone", retries=4))
        assert after is not None
        assert after.state == "queued"


def test_a_lost_run_is_queued_again_so_many_times_and_then_interrupted(store: Store) -> None:
    search_id, (run_id,) = new_search(store, 1)
    for lost in range(1, MAX_LOST_ATTEMPTS + 1):
        run = claim(store, run_id, f"n{lost}", token=lost)
        assert run.attempts == lost
        after = lose(store, run)
        assert after == get_run(store, run_id)
        assert (after.state, after.token, after.nonce, after.lost) == ("queued", lost + 1, "", lost)
        assert (after.worker, after.started_at, after.ended_at, after.landed) == (None, None, None, None)
    last = claim(store, run_id, "last", token=MAX_LOST_ATTEMPTS + 1)
    after = lose(store, last, "worker host-1 was silent")
    assert after is not None
    assert (after.state, after.cause, after.detail) == ("interrupted", "lost", "worker host-1 was silent")
    assert (after.token, after.lost, after.ended_at) == (
        MAX_LOST_ATTEMPTS + 2,
        MAX_LOST_ATTEMPTS + 1,
        NOW + 3,
    )
    numbers = [(attempt.number, attempt.token, attempt.state) for attempt in attempts_of(store, run_id)]
    assert numbers == [(n, n, "lost") for n in range(1, MAX_LOST_ATTEMPTS + 2)]
    with store.read() as connection:
        states = [one.data["state"] for one in events.after(connection, 0, run_id=run_id)]
        assert [run.id for run in searches.landed_runs(connection, search_id)] == [run_id]
    assert states == ["running", "queued"] * MAX_LOST_ATTEMPTS + ["running", "interrupted"]


@pytest.mark.parametrize("want", ["stop", "kill"])
@pytest.mark.parametrize("stale", [False, True], ids=["current record", "record from before the wish"])
def test_a_lost_run_that_shall_end_is_killed(store: Store, want: Want, stale: bool) -> None:
    _, (run_id,) = new_search(store, 1)
    run = claim(store, run_id)
    (wished,) = store.writer.call(lambda c: runs.raise_want(c, [run_id], want))
    after = lose(store, run if stale else wished)
    assert after is not None
    assert (after.state, after.cause, after.want, after.ended_at) == ("killed", "killed", want, NOW + 3)
    assert (after.token, after.lost) == (2, 1)
    assert after.landed is not None


# --- stopping and killing ---


def test_a_wish_is_never_weakened(store: Store) -> None:
    _, ids = new_search(store, 9)
    pairs = [(first, second) for first in WANTS for second in WANTS]
    for run_id, (first, second) in zip(ids, pairs, strict=True):
        claim(store, run_id)
        for want in (first, second):
            store.writer.call(lambda c, r=run_id, w=want: runs.raise_want(c, [r], w))
        assert get_run(store, run_id).want == stronger(first, second)


def test_a_wish_reaches_held_runs_only_and_names_them(store: Store) -> None:
    _, ids = new_search(store, 5)
    queued, running, saving, final, other = ids
    for run_id in (running, saving, final, other):
        claim(store, run_id)
    put(store, saving, state="saving")
    assert finish(store, get_run(store, final))
    held = store.writer.call(lambda c: runs.raise_want(c, [saving, running, queued, final, 99], "stop"))
    assert [(run.id, run.want, run.nonce) for run in held] == [(running, "stop", "n"), (saving, "stop", "n")]
    assert [get_run(store, run_id).want for run_id in ids] == ["", "stop", "stop", "", ""]
    assert store.writer.call(lambda c: runs.raise_want(c, [], "kill")) == []
    # One that has a wish already is still named: it is told once more.
    assert [run.id for run in store.writer.call(lambda c: runs.raise_want(c, [running], "stop"))] == [running]


def test_killing_a_search_ends_what_is_queued_and_nothing_else(store: Store) -> None:
    search_id, ids = new_search(store, 6)
    _, (elsewhere,) = new_search(store, 1)
    held = claim(store, ids[1])
    done = claim(store, ids[3])
    assert finish(store, done)
    before = {run_id: get_run(store, run_id) for run_id in (ids[1], ids[3], elsewhere)}
    assert store.writer.call(lambda c: runs.kill_queued(c, NOW + 5, search_id)) == [ids[0], ids[2], *ids[4:]]
    for run_id in (ids[0], ids[2], *ids[4:]):
        run = get_run(store, run_id)
        assert (run.state, run.want, run.cause, run.token, run.ended_at) == (
            "killed",
            "kill",
            "killed",
            2,
            NOW + 5,
        )
        for token in (1, 2):
            assert store.writer.call(lambda c, r=run_id, t=token: runs.claim(c, NOW, r, t, "n", "w")) is None
    assert {run_id: get_run(store, run_id) for run_id in before} == before
    assert store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id)) == []
    assert finish(store, held)


def test_killing_some_runs_leaves_the_others_queued(store: Store) -> None:
    search_id, ids = new_search(store, 4)
    _, (elsewhere,) = new_search(store, 1)
    named = [ids[2], ids[0], elsewhere, 99]
    assert store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id, named)) == [ids[0], ids[2]]
    assert [get_run(store, run_id).state for run_id in ids] == ["killed", "queued", "killed", "queued"]
    assert get_run(store, elsewhere).state == "queued"
    assert store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id, [])) == []


def test_ten_thousand_queued_runs_are_killed_in_a_few_statements(store: Store) -> None:
    search_id, ids = new_search(store, 10_000)
    statements: list[str] = []

    @event.listens_for(store._write_engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    assert store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id)) == ids
    assert len(statements) <= 5


def test_a_wish_may_name_any_number_of_runs(database: Database, store: Store) -> None:
    """By default SQLite takes 32766 parameters."""
    if database.kind == "sqlite":
        for engine in (store._write_engine, store._read_engine):
            event.listen(
                engine, "connect", lambda raw, _: raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32766)
            )
    search_id, (first, second) = new_search(store, 2)
    claim(store, second)
    named = range(first, first + 40_000)
    assert [run.id for run in store.writer.call(lambda c: runs.raise_want(c, named, "stop"))] == [second]
    with store.read() as connection:
        assert sorted(runs.get_many(connection, named)) == [first, second]
    assert store.writer.call(lambda c: runs.renew_tokens(c, named)) == {first: 2}
    assert store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id, named)) == [first]


def test_new_tokens_go_to_queued_runs_only(store: Store) -> None:
    _, (a, b, c) = new_search(store, 3)
    claim(store, b)
    assert store.writer.call(lambda con: runs.renew_tokens(con, [a, b, 99])) == {a: 2}
    assert store.writer.call(lambda con: runs.renew_tokens(con, [])) == {}
    assert [get_run(store, run_id).token for run_id in (a, b, c)] == [2, 1, 1]


# --- looking up ---


def test_runs_are_listed_newest_first_by_pages(store: Store) -> None:
    new_search(store, 3, owner="ada")
    new_search(store, 4, owner="bob")
    new_search(store, 2, owner="ada", kind="run")
    claim(store, 2)
    claim(store, 8)
    with store.read() as connection:

        def ids(**query: object) -> list[int]:
            options = {"before": None, "limit": 100, "owner": None} | query
            return [run.id for run in runs.listing(connection, **options)]  # type: ignore[arg-type]

        assert ids() == [9, 8, 7, 6, 5, 4, 3, 2, 1]
        assert ids(limit=4) == [9, 8, 7, 6]
        assert ids(limit=4, before=6) == [5, 4, 3, 2]
        assert ids(limit=4, before=2) == [1]
        assert ids(before=1) == []
        assert ids(owner="ada") == [9, 8, 3, 2, 1]
        assert ids(owner="ada", before=8, limit=2) == [3, 2]
        assert ids(owner="eve") == []
        assert ids(states=["running"]) == [8, 2]
        assert ids(states=["running", "queued"], owner="bob") == [7, 6, 5, 4]
        assert ids(states=["complete"]) == []


def test_the_runs_of_a_search_come_by_pages(store: Store) -> None:
    new_search(store, 2)
    search_id, ids = new_search(store, 7)
    with store.read() as connection:
        pages = []
        after = 0
        while page := runs.of_search(connection, search_id, after=after, limit=3):
            pages.append([run.id for run in page])
            after = page[-1].id
        assert pages == [ids[:3], ids[3:6], ids[6:]]
        assert runs.of_search(connection, 99) == []
        assert runs.get(connection, 99) is None
        assert sorted(runs.get_many(connection, [1, ids[0], 99])) == [1, ids[0]]
        assert runs.get_many(connection, []) == {}


# --- text that a database does not take ---


@pytest.mark.parametrize("word", ["a\0b", "x\udcff", "\U0001f600", "'; DROP TABLE runs; --", "%s ? :x"])
def test_any_text_of_a_worker_can_be_stored(store: Store, word: str) -> None:
    _, (run_id, other) = new_search(store, 2)
    run = store.writer.call(lambda c: runs.claim(c, NOW, run_id, 1, "n", word))
    assert run is not None
    ended = Ended("failed", "could_not_start", None, word)
    assert finish(store, run, ended=ended)
    after = get_run(store, run_id)
    storable = word.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    assert (after.worker, after.detail) == (storable, storable)
    put(store, other, lost=MAX_LOST_ATTEMPTS)
    lost = lose(store, claim(store, other), word)
    assert lost is not None
    assert lost.detail == storable
    with store.read() as connection:
        told = events.after(connection, 0, run_id=other)[-1]
    assert json.loads(json.dumps(told.data))["reason"] == word


def test_numbers_come_back_as_they_went(store: Store) -> None:
    _, ids = new_search(store, 6)
    numbers = [5e-324, -0.0, 1.7976931348623157e308, 0.1, -1e-300, 123456789012345680.0]
    for run_id, number in zip(ids, numbers, strict=True):
        assert finish(store, claim(store, run_id), number)
        assert get_run(store, run_id).objective == number


def test_no_verb_leaves_a_trace_of_sql_in_the_database(database: Database, store: Store) -> None:
    """Quotes in values are values."""
    name = "x'); DELETE FROM searches; --"
    search_id = store.writer.call(lambda c: insert_search(c, owner=name))
    assert get_search(store, search_id).owner == name
    with store.read() as connection:
        found = searches.listing(connection, before=None, limit=5, owner=name)
        assert connection.execute(text("SELECT count(*) FROM searches")).scalar_one() == 1
    assert [search.id for search in found] == [search_id]


# --- building ---


def test_a_run_whose_files_are_to_be_prepared_is_building_before_it_runs(store: Store) -> None:
    new_search(store, 2)

    def take(connection: Connection) -> RunRecord | None:
        return runs.claim(connection, NOW, 1, 1, "aa", "w", prepares=lambda search_id: search_id == 1)

    taken = store.writer.call(take)
    assert taken is not None
    assert (taken.state, taken.nonce, taken.attempts) == ("building", "aa", 1)
    assert attempts_of(store, 1)[0].state == "building"
    stranger = replace(taken, nonce="bb")
    assert store.writer.call(lambda c: runs.built(c, NOW, stranger)) is None
    built = store.writer.call(lambda c: runs.built(c, NOW, taken))
    assert built == replace(taken, state="running") == get_run(store, 1)
    assert attempts_of(store, 1)[0].state == "running"
    assert store.writer.call(lambda c: runs.built(c, NOW, taken)) is None
    with store.read() as connection:
        told = [one.data["state"] for one in events.after(connection, 0, run_id=1) if one.kind == "run"]
    assert told == ["building", "running"]


def test_a_run_lost_while_it_is_built_is_queued_again(store: Store) -> None:
    new_search(store, 1)
    taken = store.writer.call(lambda c: runs.claim(c, NOW, 1, 1, "aa", "w", prepares=lambda _: True))
    assert taken is not None
    after = store.writer.call(lambda c: runs.lose(c, NOW, taken, "gone"))
    assert after is not None
    assert (after.state, after.token, after.nonce) == ("queued", 2, "")
