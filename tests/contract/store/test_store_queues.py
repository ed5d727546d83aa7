"""Drained workers and the counts of the queues: the same on both databases."""

from __future__ import annotations

from augury.store import access, drains, queues
from augury.store.database import Store
from tests.contract.store.databases import NOW, claim, finish, new_search


def test_a_drain_lasts_until_it_is_taken_back(store: Store) -> None:
    store.writer.call(lambda c: drains.drain(c, NOW, ["b@h", "a@h", "a@h"], "new disk", "ada"))
    store.writer.call(lambda c: drains.drain(c, NOW + 1, ["b@h"], "", "bob"))
    with store.read() as connection:
        assert drains.drained(connection) == {
            "a@h": drains.Drain("a@h", "new disk", "ada", NOW),
            "b@h": drains.Drain("b@h", "", "bob", NOW + 1),
        }
    store.writer.call(lambda c: drains.undrain(c, ["a@h", "never@h"]))
    with store.read() as connection:
        assert list(drains.drained(connection)) == ["b@h"]


def test_open_runs_are_counted_by_queue(store: Store) -> None:
    new_search(store, 3)
    new_search(store, 2)
    finish(store, claim(store, 1), 0.5)
    claim(store, 2)
    with store.read() as connection:
        [queue] = queues.open_by_queue(connection)
        assert queues.open_by_queue(connection)[queue] == {"queued": 3, "running": 1}
        [(_, held)] = queues.held_ids(connection).items()
        assert held == [2]


def test_machine_types_are_listed_by_their_queue(store: Store) -> None:
    for name, queue in (("RTX 4090", "rtx-4090"), ("rtx 4090", "rtx-4090"), ("K80", "k80")):
        store.writer.call(lambda c, name=name, queue=queue: access.see_machine_type(c, NOW, name, queue))
    with store.read() as connection:
        assert queues.types_by_queue(connection) == {
            "k80": ["K80"],
            "rtx-4090": ["RTX 4090", "rtx 4090"],
        }
