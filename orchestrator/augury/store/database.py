"""Opening the store: one engine that writes, one that only reads, and the migration to the newest schema."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, inspect, select, text, update
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from augury.errors import AuguryError, RefusedError, UnavailableError, UsageError
from augury.store import schema
from augury.store.writer import FAILURES, Writer

__all__ = ["FAILURES", "POSTGRES_ARGS", "Connection", "Store", "location", "name_breaks", "upgrade"]

_SQLITE = "sqlite:///"
_LOCK_SECONDS = 30
_READERS = {"pool_size": 8, "max_overflow": 32}
POSTGRES_ARGS = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "augury",
}
# While somebody holds a lock for longer, users are told so. A server that is frozen within a transaction
# would keep the next one from raising the epoch, which waits for longer than that.
_POSTGRES_WRITER = """
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '20s'
"""
_POSTGRES_READER = "SET lock_timeout = '5s'"
_MIGRATING = 0x417567757279
"""Key of the advisory lock under which a PostgreSQL schema is made or changed."""
_OWN_TABLES = {"alembic_version", "instance", "searches"}


def _sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    """Return an engine on a SQLite file in WAL mode.

    The driver's own transaction handling is switched off: a writer begins with BEGIN IMMEDIATE, so
    that it never fails in the middle for a lock.
    """
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, check_same_thread=False, timeout=_LOCK_SECONDS, isolation_level=None
        )

    pool: dict[str, Any] = {"poolclass": QueuePool, **_READERS} if read_only else {"poolclass": NullPool}
    engine = create_engine("sqlite+pysqlite://", creator=connect, **pool)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            _keep_log(connection)
            # FULL: a commit that was answered survives a power cut.
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _keep_log(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL mode; when several are about it, all but one are refused without a wait."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _postgres_engine(url: URL, *, read_only: bool) -> Engine:
    """Return an engine on a PostgreSQL database."""
    if read_only:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        engine = create_engine(
            url, connect_args=POSTGRES_ARGS, pool_pre_ping=True, execution_options=options, **_READERS
        )
    else:
        engine = create_engine(url, connect_args=POSTGRES_ARGS, pool_size=1)
    name_breaks(engine)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_POSTGRES_READER if read_only else _POSTGRES_WRITER)
        connection.commit()

    return engine


def name_breaks(engine: Engine) -> None:
    """Let a broken connection to PostgreSQL be one of `FAILURES` always.

    The driver has no code to tell by when the connection breaks before the server could say why.
    """

    @event.listens_for(engine, "handle_error", retval=True)
    def _name(context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        if (
            type(error) is engine.dialect.loaded_dbapi.DatabaseError
            and getattr(error, "pgcode", None) is None
        ):
            context.is_disconnect = True
        if not context.is_disconnect or isinstance(context.sqlalchemy_exception, FAILURES):
            return None
        return OperationalError(context.statement, None, error, connection_invalidated=True)


def location(url: str) -> Path | URL:
    """Return the file of a SQLite database, or the URL of a PostgreSQL one.

    Raises:
        UsageError: `url` has neither of the two forms.
    """
    if url.startswith(_SQLITE):
        # Not by make_url: a path may hold a question mark.
        return Path(url.removeprefix(_SQLITE))
    try:
        parsed = make_url(url)
        known = parsed.get_backend_name() in ("postgresql", "postgres")
    except (ArgumentError, ValueError):
        known = False
    if not known:
        raise UsageError(
            f"'{url.partition('//')[0]}' does not begin the URL of a database: "
            "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
        )
    return parsed.set(drivername="postgresql+psycopg2")


def _engines(url: str) -> tuple[Engine, Engine, str]:
    """Return the engine that writes, the one that reads, and the address to be shown; as `location`."""
    where = location(url)
    if isinstance(where, Path):
        return _sqlite_engine(where, read_only=False), _sqlite_engine(where, read_only=True), url
    shown = make_url(url).render_as_string(hide_password=True)
    return _postgres_engine(where, read_only=False), _postgres_engine(where, read_only=True), shown


class Store:
    """An open store: `read()` for questions, `writer` for everything that changes it."""

    def __init__(self, url: str) -> None:
        """Open the database at `url` (`sqlite:///PATH` or `postgresql://…`) and bring its schema up to date.

        Raises:
            UsageError: `url` has neither form.
            UnavailableError: the database cannot be opened.
            RefusedError: its schema is newer than this version of Augury, or it is another program's.
        """
        self._write_engine, self._read_engine, shown = _engines(url)
        try:
            self.epoch = _prepare(self._write_engine)
        except DBAPIError as error:
            self._dispose()
            reason = str(error.orig).strip().partition("\n")[0]
            raise UnavailableError(f"the database {shown} cannot be opened: {reason}") from error
        except AuguryError:
            self._dispose()
            raise
        self.writer = Writer(self._write_engine, self.epoch)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one consistent state and cannot write."""
        with self._read_engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Finish what the writer has begun and close all connections."""
        # SQLite puts its log into the file when a writing connection is the last to go.
        self._read_engine.dispose()
        self.writer.stop()
        self._dispose()

    def _dispose(self) -> None:
        self._write_engine.dispose()
        self._read_engine.dispose()


def _prepare(engine: Engine) -> int:
    """Bring the schema up to date and raise the epoch: now the writes of an older server are refused."""
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
        _migrate(connection)
        if connection.execute(select(func.count()).select_from(schema.instance)).scalar_one() == 0:
            _seed(connection)
        statement = update(schema.instance).values(epoch=schema.instance.c.epoch + 1)
        return int(connection.execute(statement.returning(schema.instance.c.epoch)).scalar_one())


def _migrate(connection: Connection) -> None:
    """Create the schema in an empty database, or apply the migrations that are missing."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        # A test holds this equal to the sum of the migrations; it spares a new store Alembic's import.
        schema.metadata.create_all(connection)
        connection.execute(text(_VERSION_TABLE))
        connection.execute(text("INSERT INTO alembic_version VALUES (:v)"), {"v": schema.SCHEMA})
        return
    version: str | None = None
    if tables >= _OWN_TABLES:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if version is None:
        raise RefusedError("the database holds tables that are not Augury's: give it one of its own")
    if version > schema.SCHEMA:
        raise RefusedError(
            f"the store has schema {version}, this version of Augury knows {schema.SCHEMA}: update Augury"
        )
    if version < schema.SCHEMA:
        upgrade(connection)


_VERSION_TABLE = """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""


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
