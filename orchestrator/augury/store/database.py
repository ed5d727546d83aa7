"""Opening the store: one engine that writes, one that only reads, and the migration to the newest schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection as Connection
from sqlalchemy import Engine, create_engine, event, func, insert, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from augury.errors import RefusedError, UnavailableError
from augury.store import schema
from augury.store.writer import Writer

_POSTGRES_ARGS = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "augury",
}


def _sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    """Return an engine on a SQLite file in WAL mode.

    The driver's own transaction handling is switched off: a writer begins with BEGIN IMMEDIATE, so
    that it never fails in the middle for a lock.
    """
    mode = "ro" if read_only else "rwc"
    uri = f"file:{_quoted(path)}?mode={mode}&uri=true"
    arguments: dict[str, Any] = {"check_same_thread": False, "timeout": 30}
    if read_only:
        engine = create_engine(
            f"sqlite+pysqlite:///{uri}", connect_args=arguments, pool_size=8, max_overflow=32
        )
    else:
        engine = create_engine(f"sqlite+pysqlite:///{uri}", connect_args=arguments, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: a commit that was answered survives a power cut.
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _quoted(path: Path) -> str:
    """Return a path as it must stand in a SQLite URI."""
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class Store:
    """An open store: `read()` for questions, `writer` for everything that changes it."""

    def __init__(self, url: str) -> None:
        """Open the database at `url` (`sqlite:///PATH` or `postgresql://…`) and bring its schema up to date.

        Raises:
            UnavailableError: the database cannot be reached.
            RefusedError: its schema is newer than this version of Augury.
        """
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            path = Path(parsed.database or "")
            self._write_engine = _sqlite_engine(path, read_only=False)
            self._read_engine = _sqlite_engine(path, read_only=True)
        else:
            parsed = parsed.set(drivername="postgresql+psycopg2")
            self._write_engine = create_engine(parsed, connect_args=_POSTGRES_ARGS, pool_size=1)
            self._read_engine = create_engine(
                parsed, connect_args=_POSTGRES_ARGS, pool_size=8, max_overflow=32, pool_pre_ping=True
            )
        try:
            _migrate(self._write_engine)
            self.epoch = _next_epoch(self._write_engine)
        except OperationalError as error:
            where = parsed.render_as_string(hide_password=True)
            raise UnavailableError(f"the database {where} cannot be opened: {error.orig}") from error
        self.writer = Writer(self._write_engine, self.epoch)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one consistent state and cannot write."""
        with self._read_engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Finish what the writer has begun and close all connections."""
        self.writer.stop()
        self._write_engine.dispose()
        self._read_engine.dispose()


def _migrate(engine: Engine) -> None:
    """Create the schema in an empty database, or apply the migrations that are missing."""
    with engine.begin() as connection:
        tables = set(inspect(connection).get_table_names())
        if not tables:
            # A test holds this equal to the sum of the migrations; it spares a new store Alembic's import.
            schema.metadata.create_all(connection)
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:v)"), {"v": schema.SCHEMA})
            _seed(connection)
            return
        if "alembic_version" not in tables:
            raise RefusedError("the database holds tables that are not Augury's: give it one of its own")
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        if version == schema.SCHEMA:
            return
        if version > schema.SCHEMA:
            raise RefusedError(
                f"the store has schema {version}, this version of Augury knows {schema.SCHEMA}: update Augury"
            )
        upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Apply all missing migrations on `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _seed(connection: Connection) -> None:
    connection.execute(insert(schema.instance), {"id": 1, "epoch": 0})
    connection.execute(
        insert(schema.counters), [{"name": name, "value": 0} for name in ("search", "run", "single")]
    )


def _next_epoch(engine: Engine) -> int:
    """Raise the epoch: from now on the writes of an older server are refused."""
    with engine.begin() as connection:
        if connection.execute(select(func.count()).select_from(schema.instance)).scalar_one() == 0:
            _seed(connection)
        statement = update(schema.instance).values(epoch=schema.instance.c.epoch + 1)
        return int(connection.execute(statement.returning(schema.instance.c.epoch)).scalar_one())
