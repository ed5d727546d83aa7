"""A store on each database: what holds for one holds for the other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from augury.store.database import Store
from tests.contract.store.databases import Database
from tests.support.postgres import Postgres, quick_place

KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """Name of a database with the newest schema, to be copied."""
    name = postgres.create_database()
    Store(postgres.url(name)).close()
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store file with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    Store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a quick disk, gone after the test."""
    with tempfile.TemporaryDirectory(prefix="augury-store-", dir=quick_place()) as name:
        yield Path(name)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The database under test."""
    found: str = request.param
    return found


@pytest.fixture
def new_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Callable[[], Database]]:
    """Make databases without any table."""
    made: list[Database] = []

    def make() -> Database:
        if kind == "sqlite":
            database = Database(kind, f"sqlite:///{folder / f'empty-{len(made)}.db'}")
        else:
            server: Postgres = request.getfixturevalue("postgres")
            name = server.create_database()
            database = Database(kind, server.url(name), lambda: server.drop_database(name))
        made.append(database)
        return database

    yield make
    for database in made:
        database.end()


@pytest.fixture
def database(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Database]:
    """A database with the newest schema and nothing in it."""
    if kind == "sqlite":
        path = folder / "store.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        database = Database(kind, f"sqlite:///{path}")
    else:
        template: str = request.getfixturevalue("postgres_template")
        server: Postgres = request.getfixturevalue("postgres")
        name = server.create_database(template)
        database = Database(kind, server.url(name), lambda: server.drop_database(name))
    yield database
    database.end()


@pytest.fixture
def store(database: Database) -> Store:
    """A store with nothing in it."""
    return database.open()
