"""Searches: their few states, their wishes, their runs in the order in which they landed."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from augury.run import OPEN_SEARCH_STATES, Ended, SearchState, Want, stronger
from augury.spec import SearchSpec
from augury.store import access, events, runs, searches
from augury.store.database import Store
from augury.store.records import SearchRecord
from tests.contract.store.databases import (
    NOW,
    claim,
    finish,
    get_search,
    lose,
    new_search,
    spec,
)

STATES: tuple[SearchState, ...] = ("running", "paused", "finished", "stopped", "killed")


def change(store: Store, search_id: int, state: SearchState, **more: Any) -> bool:
    return store.writer.call(lambda c: searches.change_state(c, NOW + 5, search_id, state, **more))


def test_a_search_begins_running_with_its_request(store: Store) -> None:
    request: SearchSpec = spec("bayesian", metric="loss", labels=("a", "b"), seed=7)

    def work(connection: Any) -> int:
        return searches.insert_search(
            connection,
            NOW,
            kind="bayesian",
            spec_text=json.dumps(request.to_json()),
            environment="e3b0",
            queue="rtx-4090",
            owner="ada",
            notices=["one", "two \U0001f600"],
        )

    search = get_search(store, store.writer.call(work))
    assert search == SearchRecord(
        id=1,
        kind="bayesian",
        state="running",
        want="",
        spec_text=search.spec_text,
        environment="e3b0",
        queue="rtx-4090",
        owner="ada",
        created_runs=0,
        memo=None,
        notices=["one", "two \U0001f600"],
        pause_reason=None,
        created_at=NOW,
        ended_at=None,
    )
    assert search.spec == request
    assert search.shown_id == 1


def test_a_single_run_is_a_search_with_a_number_nobody_sees(store: Store) -> None:
    ids = [new_search(store, 1, kind=kind)[0] for kind in ("run", "grid", "run", "grid")]
    assert ids == [-1, 1, -2, 2]
    assert [get_search(store, search_id).shown_id for search_id in ids] == [None, 1, None, 2]
    with store.read() as connection:
        listed = searches.listing(connection, before=None, limit=10, owner=None)
        assert [search.id for search in listed] == [2, 1]
        assert {search.id for search in searches.open_searches(connection)} == set(ids)
        assert searches.find(connection, 3) is None
        assert searches.find(connection, 0) is None


def test_an_open_search_changes_its_state_and_an_ended_one_never(store: Store) -> None:
    for start, to in itertools.product(STATES, STATES):
        search_id, _ = new_search(store, 1)
        if start != "running":
            assert change(store, search_id, start, pause_reason="no metric" if start == "paused" else None)
        before = get_search(store, search_id)
        moved = change(store, search_id, to, notice="so it is")
        assert moved is (start in OPEN_SEARCH_STATES and start != to)
        after = get_search(store, search_id)
        if not moved:
            assert after == before
            continue
        assert (after.state, after.notices, after.pause_reason) == (to, ["so it is"], None)
        assert after.ended_at == (None if to in OPEN_SEARCH_STATES else NOW + 5)
        with store.read() as connection:
            last = events.after(connection, 0, search_id=search_id)[-1]
            still_open = [one.id for one in searches.open_searches(connection)]
        assert (last.kind, dict(last.data), last.run_id) == ("search", {"state": to}, None)
        assert (search_id in still_open) is (to in OPEN_SEARCH_STATES)


def test_a_pause_says_why_until_the_search_goes_on(store: Store) -> None:
    search_id, _ = new_search(store, 1)
    reason = "no run reported 'los\ud800s\0'"
    assert change(store, search_id, "paused", pause_reason=reason)
    assert get_search(store, search_id).pause_reason == "no run reported 'los?s\ufffd'"
    with store.read() as connection:
        last = events.after(connection, 0)[-1]
    assert last.data == {"state": "paused", "reason": reason}
    assert change(store, search_id, "running")
    assert get_search(store, search_id).pause_reason is None


def test_notices_are_kept_in_order(store: Store) -> None:
    search_id, _ = new_search(store, 1)
    for text in ("first", 'with "quotes"', "last"):
        store.writer.call(lambda c, t=text: searches.add_notice(c, search_id, t))
    assert get_search(store, search_id).notices == ["first", 'with "quotes"', "last"]


def test_a_wish_for_a_search_is_never_weakened(store: Store) -> None:
    wants: tuple[Want, ...] = ("", "stop", "kill")
    for first in wants:
        for second in wants:
            search_id, _ = new_search(store, 1)
            for want in (first, second):
                store.writer.call(lambda c, s=search_id, w=want: searches.raise_want(c, s, w))
            assert get_search(store, search_id).want == stronger(first, second)


def test_an_ended_search_takes_no_wish(store: Store) -> None:
    search_id, _ = new_search(store, 1)
    assert change(store, search_id, "finished")
    store.writer.call(lambda c: searches.raise_want(c, search_id, "kill"))
    assert get_search(store, search_id).want == ""


def test_searches_are_listed_newest_first_by_pages(store: Store) -> None:
    for number in range(9):
        labels = ("odd",) if number % 2 else ("even", "all")
        new_search(store, 1, owner="ada" if number % 3 else "bob", labels=labels)

    def ids(**query: Any) -> list[int]:
        with store.read() as connection:
            options = {"before": None, "limit": 100, "owner": None} | query
            return [search.id for search in searches.listing(connection, **options)]

    assert ids() == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert ids(limit=4) == [9, 8, 7, 6]
    assert ids(limit=4, before=6) == [5, 4, 3, 2]
    assert ids(before=1) == []
    assert ids(owner="bob") == [7, 4, 1]
    assert ids(owner="ada", limit=2, before=8) == [6, 5]
    assert ids(label="odd") == [8, 6, 4, 2]
    assert ids(label="even", owner="bob") == [7, 1]
    assert ids(label="none") == []


def test_a_page_of_searches_with_a_label_is_full_while_there_are_more(store: Store) -> None:
    """Who takes a short page for the last one would miss the others."""
    for number in range(40):
        new_search(store, 1, labels=("rare",) if number % 10 == 0 else ())
    with store.read() as connection:
        first = searches.listing(connection, before=None, limit=3, owner=None, label="rare")
        assert [search.id for search in first] == [31, 21, 11]
        rest = searches.listing(connection, before=11, limit=3, owner=None, label="rare")
        assert [search.id for search in rest] == [1]


def test_open_searches_come_oldest_first(store: Store) -> None:
    ids = [new_search(store, 1, now=NOW + at)[0] for at in (3, 1, 2, 2, 2)]
    with store.read() as connection:
        found = [search.id for search in searches.open_searches(connection)]
    assert found == [ids[1], ids[2], ids[3], ids[4], ids[0]]


def test_runs_are_counted_by_state(store: Store) -> None:
    first, ids = new_search(store, 5)
    second, _ = new_search(store, 2)
    claim(store, ids[0])
    finish(store, claim(store, ids[1]))
    finish(store, claim(store, ids[2]), ended=Ended("failed", "exit", 1))
    with store.read() as connection:
        assert searches.counts(connection, [first, second, 99]) == {
            first: {"queued": 2, "running": 1, "complete": 1, "failed": 1},
            second: {"queued": 2},
            99: {},
        }
        assert searches.counts(connection, []) == {}


def test_results_are_given_in_the_order_in_which_they_landed(store: Store) -> None:
    search_id, ids = new_search(store, 12)
    _, (other,) = new_search(store, 1)
    order = random.Random(3).sample(ids, 9)
    held = {run_id: claim(store, run_id) for run_id in ids}
    finish(store, claim(store, other), 1.0)
    for place, run_id in enumerate(order):
        if place == 4:
            store.writer.call(lambda c, r=run_id: runs.raise_want(c, [r], "kill"))
            lose(store, held[run_id])
        else:
            finish(store, held[run_id], float(place))
    with store.read() as connection:
        landed = searches.landed_runs(connection, search_id)
    assert [run.id for run in landed] == order
    assert [run.objective for run in landed] == [0.0, 1.0, 2.0, 3.0, None, 5.0, 6.0, 7.0, 8.0]


# --- tokens of users and machine types ---


def owner_of(store: Store, token: str) -> str | None:
    with store.read() as connection:
        return access.owner_of(connection, token)


def test_a_token_speaks_for_its_user_until_the_next_one(store: Store) -> None:
    first = store.writer.call(lambda c: access.create_token(c, NOW, "ada"))
    other = store.writer.call(lambda c: access.create_token(c, NOW, "bob"))
    assert (owner_of(store, first), owner_of(store, other)) == ("ada", "bob")
    second = store.writer.call(lambda c: access.create_token(c, NOW, "ada"))
    assert len({first, second, other}) == 3
    assert [owner_of(store, token) for token in (first, second, other)] == [None, "ada", "bob"]
    for wrong in ("", "x", first[:-1], second + " ", "\0", "\ud800"):
        assert owner_of(store, wrong) is None


def test_no_token_stands_in_the_database(store: Store) -> None:
    token = store.writer.call(lambda c: access.create_token(c, NOW, "ada"))
    with store.read() as connection:
        row = connection.exec_driver_sql("SELECT * FROM tokens").one()
    assert token not in repr(row)
    assert len(bytes(row.digest)) == 32


def test_machine_types_are_remembered_as_they_were_first_spelled(store: Store) -> None:
    for name, queue in (("K80", "k80"), ("RTX 4090", "rtx-4090"), ("K80", "other"), ("a100", "a100")):
        store.writer.call(lambda c, n=name, q=queue: access.see_machine_type(c, NOW, n, q))
    with store.read() as connection:
        assert sorted(access.known_machine_types(connection)) == ["K80", "RTX 4090", "a100"]
        queue = connection.exec_driver_sql("SELECT queue FROM machine_types WHERE name = 'K80'").scalar()
    assert queue == "k80"
