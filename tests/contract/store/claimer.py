"""One of several processes that ask for the same runs at the same time."""

from __future__ import annotations

import random
from multiprocessing.synchronize import Barrier

from sqlalchemy import Connection, create_engine, select

from augury.store import runs, schema
from tests.contract.store.databases import NOW

_WAITING = (
    select(schema.runs.c.id).where(schema.runs.c.state == "queued").order_by(schema.runs.c.id).limit(64)
)
_start: Barrier


def prepare(start: Barrier) -> None:
    """Remember where all wait for each other."""
    global _start
    _start = start


def work(url: str, search_id: int, nonce: str) -> tuple[list[int], int]:
    """Ask for the foremost runs until there are none; return those given, and how often it was refused."""
    engine = create_engine(url)
    given: list[int] = []
    refused = 0
    with engine.connect() as connection:
        _start.wait(60)
        while waiting := _queued(connection, search_id):
            # In the same order each would be refused seven times of eight.
            for run_id in random.sample(waiting, min(16, len(waiting))):
                with connection.begin():
                    run = runs.claim(connection, NOW, run_id, 1, nonce, nonce)
                if run is not None:
                    given.append(run_id)
                else:
                    refused += 1
    engine.dispose()
    return given, refused


def _queued(connection: Connection, search_id: int) -> list[int]:
    with connection.begin():
        statement = _WAITING.where(schema.runs.c.search_id == search_id)
        return list(connection.execute(statement).scalars())
