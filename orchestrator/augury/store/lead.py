"""Who serves a PostgreSQL database: the server whose session holds one advisory lock.

The session is used for nothing else, and ends with the server: killed, its host gone, or so slow that it does
not speak for `SILENT_SECONDS`. That the one that was slow writes no more is not its own care: the next one
raises the epoch, which every transaction looks at.
"""

from __future__ import annotations

import select as waiting

from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from augury.store import schema
from augury.store.database import POSTGRES_ARGS, name_breaks

SILENT_SECONDS = 10
"""PostgreSQL ends the session of a server that says nothing for so long (since PostgreSQL 14)."""

_LEADING = 0x417567757278
# A setting that an older PostgreSQL does not have must not keep a server from leading.
_LIMIT = f"""
SELECT set_config(name, '{SILENT_SECONDS}s', false) FROM pg_settings WHERE name = 'idle_session_timeout'
"""


class SessionLead:
    """The lock of one database, through a session that is opened when first used.

    All methods raise `store.database.FAILURES` when the database does not answer; the session, and with it
    the lock, is given up then.
    """

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(
            url,
            connect_args=POSTGRES_ARGS | {"application_name": "augury lead"},
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
        )
        name_breaks(self._engine)
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Take the lock, unless another server holds it; tell whether this one does now."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                self._connection.execute(text(_LIMIT))
            return bool(self._connection.execute(select(func.pg_try_advisory_lock(_LEADING))).scalar_one())
        except Exception:
            self.close()
            raise

    def look(self, seconds: float) -> int:
        """Wait for `seconds`, or until the session is cut; return the epoch of the store.

        Call it more often than every `SILENT_SECONDS`, also where the lock was not taken.
        """
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            poll = waiting.poll()
            # Nothing was asked, so what comes is the end of the session (or news that do no harm).
            poll.register(self._connection.connection.dbapi_connection.fileno(), waiting.POLLIN)  # type: ignore[union-attr]
            poll.poll(seconds * 1000)
            return int(self._connection.execute(select(schema.instance.c.epoch)).scalar_one())
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """End the session, and with it the lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
