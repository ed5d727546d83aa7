"""What the tests of the store share: databases, and short ways to fill them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from augury.run import Ended
from augury.spec import Command, Kind, RangeSpec, SearchSpec
from augury.store import points, runs, searches
from augury.store.database import Store
from augury.store.points import PointRow
from augury.store.records import Assignment, RunRecord, SearchRecord
from augury.store.runs import Output

NOW = 1_700_000_000.25


@dataclass
class Database:
    """A database of one test."""

    kind: str
    url: str
    drop: Callable[[], None] | None = None
    stores: list[Store] = field(default_factory=list)

    def open(self) -> Store:
        """Open a store on it, closed at the end of the test at the latest."""
        store = Store(self.url)
        self.stores.append(store)
        return store

    def execute(self, statement: str) -> Any:
        """Run a statement behind the store's back; return the first value of its first row, if any."""
        engine = create_engine(self.url, poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    def cut_connections(self) -> None:
        """End all connections to it, as a restart of the server does (PostgreSQL)."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def end(self) -> None:
        """Close what is open and remove the database."""
        for store in self.stores:
            store.close()
        if self.drop is not None:
            self.drop()


def spec(kind: Kind = "random", **fields: Any) -> SearchSpec:
    """Return a request."""
    return SearchSpec(kind, Command(("true", ":x:")), {"x": RangeSpec(0.0, 1.0)}, num_runs=4, **fields)


def assignments(count: int, start: int = 0) -> list[Assignment]:
    """Return `count` assignments that differ."""
    return [Assignment({"x": i / 8}, {"x": repr(i / 8)}) for i in range(start, start + count)]


def insert_search(
    connection: Connection, *, kind: Kind = "random", owner: str = "ada", now: float = NOW, **fields: Any
) -> int:
    """Insert a search without runs."""
    return searches.insert_search(
        connection,
        now,
        kind=kind,
        spec_text=json.dumps(spec(kind, **fields).to_json()),
        environment=None,
        queue="k80",
        owner=owner,
        notices=(),
    )


def new_search(store: Store, count: int, **fields: Any) -> tuple[int, list[int]]:
    """Store a search with `count` queued runs; return its id and theirs."""

    def work(connection: Connection) -> tuple[int, list[int]]:
        search_id = insert_search(connection, **fields)
        first = searches.add_runs(connection, NOW, search_id, 0, assignments(count), None)
        return search_id, list(range(first, first + count))

    return store.writer.call(work)


def claim(store: Store, run_id: int, nonce: str = "n", token: int = 1, now: float = NOW + 1) -> RunRecord:
    """Claim a run that can be had."""
    run = store.writer.call(lambda c: runs.claim(c, now, run_id, token, nonce, "host-1/0"))
    assert run is not None
    return run


def finish(
    store: Store, run: RunRecord, objective: float | None = None, *, ended: Ended | None = None
) -> bool:
    """End a held run."""
    how = ended or Ended("complete", "exit", 0)
    return (
        store.writer.call(lambda c: runs.finish(c, NOW + 2, run, how, objective, Output(0, 0, 0))) is not None
    )


def lose(store: Store, run: RunRecord, reason: str = "gone") -> RunRecord | None:
    """Take a held run from its attempt."""
    return store.writer.call(lambda c: runs.lose(c, NOW + 3, run, reason))


def get_run(store: Store, run_id: int) -> RunRecord:
    """Return a run that exists."""
    with store.read() as connection:
        run = runs.get(connection, run_id)
    assert run is not None
    return run


def get_search(store: Store, search_id: int) -> SearchRecord:
    """Return a search that exists."""
    with store.read() as connection:
        search = searches.get(connection, search_id)
    assert search is not None
    return search


def report(store: Store, run: RunRecord, s: int, name: str, values: Sequence[float | None]) -> None:
    """Store one report of points with indices 0, 1, ..."""
    rows = [PointRow(run.id, run.token, s, i, name, i, value, NOW + i) for i, value in enumerate(values)]
    store.writer.call(lambda c: points.insert_all(c, rows))


def structure(database: Database) -> dict[str, Any]:
    """Return all that the database itself knows of its tables."""
    engine = create_engine(database.url, poolclass=NullPool)
    inspector = inspect(engine)
    return {
        table: {
            "columns": [
                (
                    column["name"],
                    column["type"].compile(engine.dialect),
                    column["nullable"],
                    column["default"],
                    column.get("autoincrement"),
                )
                for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": inspector.get_foreign_keys(table),
            "unique": inspector.get_unique_constraints(table),
            "indexes": sorted(inspector.get_indexes(table), key=lambda index: str(index["name"])),
        }
        for table in inspector.get_table_names()
    }
