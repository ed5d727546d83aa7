"""Events: one row for each change, in order, so that a reader can go on where it stopped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augury.store import events, runs, searches
from augury.store.database import Store
from augury.store.events import Event
from tests.contract.store.databases import (
    NOW,
    Database,
    assignments,
    claim,
    finish,
    get_run,
    lose,
    new_search,
)


def told(store: Store, after: int = 0, **query: Any) -> list[Event]:
    with store.read() as connection:
        return list(events.after(connection, after, **{"most": 100_000} | query))


def newest(store: Store) -> int:
    with store.read() as connection:
        return events.newest(connection)


def test_each_change_is_told_once_and_in_order(store: Store) -> None:
    search_id, (a, b, c, d) = new_search(store, 4)
    first = claim(store, a)
    second = claim(store, b)
    lose(store, first, "host gone")
    finish(store, second, 0.5)
    again = claim(store, a, token=2)
    store.writer.call(lambda con: runs.kill_queued(con, NOW, search_id, [c]))
    store.writer.call(lambda con: runs.raise_want(con, [a], "stop"))
    store.writer.call(lambda con: runs.kill_queued(con, NOW, search_id))
    finish(store, again, None)
    store.writer.call(lambda con: searches.change_state(con, NOW, search_id, "finished"))
    shown = [(one.run_id, one.kind, one.data["state"]) for one in told(store)]
    assert shown == [
        (None, "search", "running"),
        (None, "runs", "queued"),
        (a, "run", "running"),
        (b, "run", "running"),
        (a, "run", "queued"),
        (b, "run", "complete"),
        (a, "run", "running"),
        (c, "run", "killed"),
        (None, "runs", "killed"),
        (a, "run", "complete"),
        (None, "search", "finished"),
    ]
    assert {one.search_id for one in told(store)} == {search_id}
    assert (told(store)[4].data["reason"], told(store)[4].data["cause"]) == ("host gone", "lost")
    assert told(store)[8].data == {"state": "killed", "first": d, "count": 1}
    ids = [one.id for one in told(store)]
    assert ids == sorted(set(ids))
    assert newest(store) == ids[-1]


def test_a_change_that_was_refused_is_not_told(store: Store) -> None:
    search_id, (run_id,) = new_search(store, 1)
    queued = get_run(store, run_id)
    before = told(store)
    assert not finish(store, queued)
    assert lose(store, queued) is None
    assert store.writer.call(lambda c: runs.claim(c, NOW, run_id, 5, "n", "w")) is None
    assert store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id, [99])) == []
    assert not store.writer.call(lambda c: searches.change_state(c, NOW, search_id, "running"))
    assert told(store) == before
    assert newest(store) == before[-1].id


def test_killing_a_search_tells_of_its_runs_by_stretches(store: Store) -> None:
    """One row for ten thousand runs; what it says of first and count is true."""
    search_id, ids = new_search(store, 8)
    _, (between,) = new_search(store, 1)
    more = store.writer.call(lambda c: searches.add_runs(c, NOW, search_id, 8, assignments(2, 8), None))
    claim(store, ids[3])
    last = newest(store)
    killed = store.writer.call(lambda c: runs.kill_queued(c, NOW, search_id))
    rows = [one.data for one in told(store, last)]
    assert rows == [
        {"state": "killed", "first": ids[0], "count": 3},
        {"state": "killed", "first": ids[4], "count": 4},
        {"state": "killed", "first": more, "count": 2},
    ]
    assert [run_id for one in rows for run_id in range(one["first"], one["first"] + one["count"])] == killed
    assert between not in killed


def test_who_follows_a_run_learns_that_it_was_killed(store: Store) -> None:
    search_id, ids = new_search(store, 3)
    store.writer.call(lambda c: runs.kill_queued(c, NOW + 7, search_id, ids[:2]))
    for run_id in ids[:2]:
        (event,) = told(store, run_id=run_id)
        assert (event.kind, event.time, event.search_id) == ("run", NOW + 7, search_id)
        assert event.data == {"state": "killed", "objective": None, "cause": "killed", "exit_code": None}
    assert told(store, run_id=ids[2]) == []


def test_events_of_one_search_or_run(store: Store) -> None:
    first, (a,) = new_search(store, 1)
    second, (b,) = new_search(store, 1)
    claim(store, a)
    claim(store, b)
    everything = told(store)
    assert told(store, search_id=first) == [one for one in everything if one.search_id == first]
    assert told(store, run_id=b) == [one for one in everything if one.run_id == b]
    assert told(store, search_id=second, run_id=a) == []
    assert told(store, newest(store)) == []
    assert told(store, 10**12) == []


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(most=st.integers(1, 9), data=st.data())
def test_a_reader_that_stops_and_goes_on_misses_nothing(store: Store, most: int, data: st.DataObject) -> None:
    last = newest(store)
    search_id, ids = new_search(store, data.draw(st.integers(1, 8)))
    for run_id in ids:
        finish(store, claim(store, run_id), 1.0)
    everything = told(store, last)
    assert len(everything) == 2 + 2 * len(ids)
    seen: list[Event] = []
    while part := told(store, last, most=most, search_id=search_id):
        assert len(part) <= most
        seen += part
        last = part[-1].id
    assert seen == everything


def test_events_go_on_after_the_store_was_opened_again(database: Database) -> None:
    store = database.open()
    new_search(store, 1)
    last = newest(store)
    store.close()
    again = database.open()
    new_search(again, 1)
    ids = [one.id for one in told(again, last)]
    assert len(ids) == 2
    assert min(ids) > last


def test_an_empty_store_has_no_events(store: Store) -> None:
    assert newest(store) == 0
    assert told(store) == []


def test_a_follower_sees_events_in_order_while_many_write(store: Store) -> None:
    """An event that becomes visible late behind a reader's position would be lost to it."""
    search_id, ids = new_search(store, 60)
    last = newest(store)
    seen: list[int] = []

    def live(run_id: int) -> None:
        finish(store, claim(store, run_id), 1.0)

    with ThreadPoolExecutor(8) as pool:
        for lived in as_completed([pool.submit(live, run_id) for run_id in ids]):
            lived.result()
            for one in told(store, last, search_id=search_id):
                seen.append(one.id)
                last = one.id
    assert seen == [one.id for one in told(store, seen[0] - 1, search_id=search_id)]
    assert len(seen) == 120
