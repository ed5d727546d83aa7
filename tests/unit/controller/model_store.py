"""A store in memory under the real verbs: transactions fail before or after their commit, when told to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from augury.store import database, schema

if TYPE_CHECKING:
    from server_simulator import World

T = TypeVar("T")


@cache
def _memory() -> tuple[Connection, sqlite3.Connection, sqlite3.Connection]:
    """Return the one connection, its raw one, and a raw one to an empty store it is reset from.

    One engine for all simulations: it compiles each statement once.
    """
    engine = create_engine("sqlite+pysqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def _configure(raw: Any, _record: object) -> None:
        raw.isolation_level = None
        raw.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    connection = engine.connect()
    with connection.begin():
        schema.metadata.create_all(connection)
        database._seed(connection)
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    template = sqlite3.connect(":memory:")
    raw.backup(template)
    return connection, raw, template


class ModelStore:
    """Stands in for `Store`; survives the servers that open it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._connection, raw, template = _memory()
        template.backup(raw)
        self.epoch = 0
        self.writer = self

    def opened(self) -> None:
        """Another server has opened the store."""
        self.epoch += 1

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give the connection for questions."""
        self._world.effect()
        with self._connection.begin():
            yield self._connection

    def call(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction."""
        self._world.effect()
        with self._connection.begin():
            result = work(self._connection)
            if self._world.fails("commit"):
                raise OperationalError("the disk is full", {}, Exception())
            self._world.effect()
        self._world.effect()
        if self._world.fails("commit answer"):
            raise OperationalError("the answer to COMMIT was lost", {}, Exception())
        return result

    def rows(self, query: str) -> list[Any]:
        """Answer a question of the simulation itself."""
        with self._connection.begin():
            return list(self._connection.execute(text(query)))

    @contextmanager
    def peek(self) -> Iterator[Connection]:
        """Give the connection to the simulation itself, that nothing fails for."""
        with self._connection.begin():
            yield self._connection
