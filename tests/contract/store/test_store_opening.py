"""Opening a store: a new one, an old one, one of somebody else, one that is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, select
from sqlalchemy.pool import NullPool

import augury.store.migrations
from augury.errors import AuguryError, RefusedError, UnavailableError
from augury.store import access, schema
from augury.store.database import Store, upgrade
from tests.contract.store.databases import Database, get_run, new_search, structure

NewDatabase = Callable[[], Database]


def migrate_from_nothing(database: Database) -> None:
    engine = create_engine(database.url, poolclass=NullPool)
    if database.kind == "sqlite":
        # As the store does: the driver would commit before each statement that changes the schema.
        event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        upgrade(connection)


def test_a_new_store_has_the_schema_that_all_migrations_give(new_database: NewDatabase) -> None:
    fresh, migrated = new_database(), new_database()
    fresh.open()
    migrate_from_nothing(migrated)
    assert structure(fresh) == structure(migrated)


def test_a_migrated_store_starts_with_the_same_rows_as_a_new_one(new_database: NewDatabase) -> None:
    fresh, migrated = new_database(), new_database()
    migrate_from_nothing(migrated)
    for database in (fresh, migrated):
        database.open()
    for statement in (
        "SELECT version_num FROM alembic_version",
        "SELECT epoch FROM instance",
        "SELECT count(*) FROM instance",
        "SELECT sum(value) FROM counters",
        "SELECT count(*) FROM counters",
    ):
        assert fresh.execute(statement) == migrated.execute(statement)
    assert new_search(migrated.stores[0], 2) == (1, [1, 2])


def test_the_schema_is_named_after_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(augury.store.migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [schema.SCHEMA]
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


def test_opening_again_keeps_everything_and_raises_the_epoch(database: Database) -> None:
    first = database.open()
    _, (run_id,) = new_search(first, 1)
    run = get_run(first, run_id)
    first.close()
    second = database.open()
    assert get_run(second, run_id) == run
    assert second.epoch == first.epoch + 1


def test_a_store_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    epoch = database.execute("SELECT epoch FROM instance")
    with pytest.raises(RefusedError, match=r"schema 9999.*knows 0002.*update Augury"):
        Store(database.url)
    assert database.execute("SELECT epoch FROM instance") == epoch
    assert database.execute("SELECT version_num FROM alembic_version") == "9999"


@pytest.mark.parametrize(
    "tables",
    [
        ["CREATE TABLE customers (id INTEGER)"],
        # Another program that uses Alembic too, with names above and below ours.
        ["CREATE TABLE runs (id INTEGER)", "CREATE TABLE alembic_version (version_num VARCHAR(32))"],
        [
            "CREATE TABLE experiments (id INTEGER)",
            "CREATE TABLE alembic_version (version_num VARCHAR(32))",
            "INSERT INTO alembic_version VALUES ('fe5d5f3e8d1b')",
        ],
        [
            "CREATE TABLE experiments (id INTEGER)",
            "CREATE TABLE alembic_version (version_num VARCHAR(32))",
            "INSERT INTO alembic_version VALUES ('0000aa')",
        ],
    ],
    ids=["tables", "empty alembic_version", "above", "below"],
)
def test_a_database_of_another_program_is_refused_and_left_alone(
    new_database: NewDatabase, tables: list[str]
) -> None:
    database = new_database()
    for statement in tables:
        database.execute(statement)
    before = structure(database)
    with pytest.raises(RefusedError, match=r"not Augury's.*one of its own"):
        Store(database.url)
    assert structure(database) == before


def test_many_servers_may_open_an_empty_database_at_once(new_database: NewDatabase) -> None:
    database = new_database()
    barrier = threading.Barrier(6)

    def open_it(_: int) -> Store:
        barrier.wait()
        return database.open()

    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(open_it, range(6)))
    assert sorted(store.epoch for store in stores) == [1, 2, 3, 4, 5, 6]
    last = max(stores, key=lambda store: store.epoch)
    assert new_search(last, 2) == (1, [1, 2])


def test_a_refused_store_leaves_no_connection(database: Database) -> None:
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RefusedError):
        Store(database.url)
    assert connections(database) == 0


def test_a_closed_store_leaves_no_connection(database: Database) -> None:
    store = database.open()
    new_search(store, 1)
    with store.read() as connection:
        access.known_machine_types(connection)
    store.close()
    assert connections(database) == 0


def connections(database: Database) -> int:
    """Return how many connections to the database are open (to SQLite: 1 if its log is still there)."""
    if database.kind == "sqlite":
        path = Path(database.url.removeprefix("sqlite:///"))
        return int(path.with_name(path.name + "-wal").exists())
    return int(
        database.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


@pytest.mark.parametrize("url", ["mysql://u:secret@h/db", "store.db", "postgresql://h:port/db", ""])
def test_an_address_that_is_none_is_refused_with_the_two_forms(url: str) -> None:
    with pytest.raises(AuguryError, match=r"sqlite:///PATH.*postgresql://") as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be opened") as caught:
        Store(f"postgresql://ada:secret@/augury?host={tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be taken for one at first sight\n" * 20)
    with pytest.raises(UnavailableError, match=r"notes.txt cannot be opened: file is not a database"):
        Store(f"sqlite:///{path}")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"missing/store.db cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'missing' / 'store.db'}")


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "what?",
        "q?mode=memory&x",
        "50%",
        "50%20x",
        "#1",
        "über",
        "a&b=c",
        "a+b",
        "a:b@c",
        "'q\"",
        "x;y",
    ],
)
def test_a_store_stands_where_its_path_says(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for _ in range(2):
        store = Store(f"sqlite:///{folder / f'{name}.db'}")
        store.writer.call(lambda c: access.create_token(c, 1.0, "ada"))
        with store.read() as connection:
            names = list(connection.execute(select(schema.tokens.c.name)).scalars())
        assert names == ["ada"]
        store.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [folder / f"{name}.db"]


def test_a_relative_path_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Store("sqlite:///store.db").close()
    assert (tmp_path / "store.db").exists()
