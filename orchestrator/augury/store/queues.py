"""What waits and runs on each queue, and which worker holds which runs."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from augury.run import HELD_STATES, OPEN_STATES
from augury.store.schema import machine_types, runs, searches


def held_ids(connection: Connection) -> dict[str, list[int]]:
    """Return the ids of the runs that each worker holds, in their order."""
    held: dict[str, list[int]] = {}
    statement = select(runs.c.worker, runs.c.id).where(runs.c.state.in_(HELD_STATES)).order_by(runs.c.id)
    for worker, run_id in connection.execute(statement):
        if worker is not None:
            held.setdefault(worker, []).append(run_id)
    return held


def open_by_queue(connection: Connection) -> dict[str, dict[str, int]]:
    """Return the number of open runs by queue and state; counted from an index alone."""
    by_search = (
        select(runs.c.search_id, runs.c.state, func.count().label("number"))
        .where(runs.c.state.in_(OPEN_STATES))
        .group_by(runs.c.state, runs.c.search_id)
        .subquery()
    )
    statement = (
        select(searches.c.queue, by_search.c.state, func.sum(by_search.c.number))
        .join(by_search, by_search.c.search_id == searches.c.id)
        .group_by(searches.c.queue, by_search.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for queue, state, number in connection.execute(statement):
        found.setdefault(queue, {})[state] = int(number)
    return found


def types_by_queue(connection: Connection) -> dict[str, list[str]]:
    """Return the machine types ever seen, by the queue that serves them."""
    found: dict[str, list[str]] = {}
    statement = select(machine_types.c.queue, machine_types.c.name).order_by(machine_types.c.name)
    for queue, name in connection.execute(statement):
        found.setdefault(queue, []).append(name)
    return found
