"""The tables. `SCHEMA` names the newest migration in `migrations/versions`.

Times are seconds since 1970 of the server's clock; JSON is text, so that both databases hold the same.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA = "0002"

metadata = MetaData()

_Id = BigInteger().with_variant(Integer(), "sqlite")
_Real = Float(53)


def storable(text: str) -> str:
    """Return `text` as both databases take it: lone surrogates become `?`, NUL becomes U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class _Text(TypeDecorator[str]):
    """Text from workers and users: whatever it holds, it can be stored and looked for."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Make it storable."""
        return storable(value) if value is not None else None


instance = Table(
    "instance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False, doc="grows with each server that leads; in every write"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", _Text, primary_key=True, doc="search, run or single"),
    Column("value", _Id, nullable=False, doc="the last id given out"),
)

searches = Table(
    "searches",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False, doc="negative: a single run, never shown"),
    Column("kind", _Text, nullable=False),
    Column("state", _Text, nullable=False),
    Column("want", _Text, nullable=False, server_default="", doc="'' < stop < kill"),
    Column("spec", _Text, nullable=False, doc="JSON of the SearchSpec, the environment left out"),
    Column("environment", _Text, doc="name of the 0600 file with the submitter's environment"),
    Column("queue", _Text, nullable=False),
    Column("owner", _Text, nullable=False),
    Column("created_runs", Integer, nullable=False, server_default="0"),
    Column("memo", _Text, doc="JSON the sampler keeps between suggestions"),
    Column("notices", _Text, nullable=False, server_default="[]", doc="JSON list of sentences"),
    Column("pause_reason", _Text),
    Column("created_at", _Real, nullable=False),
    Column("ended_at", _Real),
    Index("searches_state", "state"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("search_id", _Id, ForeignKey("searches.id"), nullable=False),
    Column("position", Integer, nullable=False, doc="0-based place in its search"),
    Column("state", _Text, nullable=False),
    Column("want", _Text, nullable=False, server_default=""),
    Column("token", Integer, nullable=False, server_default="1", doc="fences messages of older attempts"),
    Column("nonce", _Text, nullable=False, server_default="", doc="of the attempt that holds the run"),
    Column("values", _Text, nullable=False, doc="JSON: name -> typed value"),
    Column("texts", _Text, doc="JSON: name -> spelling, where it is not the usual one"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0", doc="attempts lost with their worker"),
    Column("worker", _Text),
    Column("objective", _Real),
    Column("exit_code", Integer),
    Column("cause", _Text),
    Column("detail", _Text),
    Column("landed", _Id, doc="event id of its end: the order in which results landed"),
    Column("queued_at", _Real, nullable=False),
    Column("started_at", _Real),
    Column("ended_at", _Real),
    Index("runs_search", "search_id", "position", unique=True),
    Index("runs_state", "state", "search_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", _Id, ForeignKey("runs.id"), nullable=False),
    Column("token", Integer, nullable=False),
    Column("number", Integer, nullable=False, doc="counted from 1, as AUGURY_ATTEMPT"),
    Column("nonce", _Text, nullable=False),
    Column("worker", _Text, nullable=False),
    Column("state", _Text, nullable=False, doc="running, lost, or the final state of the run"),
    Column("ack", Integer, nullable=False, server_default="0", doc="the last report taken in"),
    Column("started_at", _Real, nullable=False),
    Column("ended_at", _Real),
    Column("exit_code", Integer),
    Column("cause", _Text),
    Column("log_bytes", _Id, nullable=False, server_default="0"),
    Column("dropped", _Id, nullable=False, server_default="0", doc="log bytes the worker had to drop"),
    PrimaryKeyConstraint("run_id", "token"),
)

points = Table(
    "points",
    metadata,
    Column("run_id", _Id, nullable=False),
    Column("token", Integer, nullable=False),
    Column("s", Integer, nullable=False, doc="sequence number of the report"),
    Column("i", Integer, nullable=False, doc="place in the report"),
    Column("name", _Text, nullable=False),
    Column("idx", _Id, nullable=False),
    Column("value", _Real, doc="NULL is NaN: SQLite has no other"),
    Column("time", _Real, nullable=False),
    PrimaryKeyConstraint("run_id", "token", "s", "i"),
    Index("points_name", "run_id", "token", "name", "idx"),
)

events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("time", _Real, nullable=False),
    Column("search_id", _Id, nullable=False),
    Column("run_id", _Id),
    Column("kind", _Text, nullable=False),
    Column("data", _Text, nullable=False),
    Index("events_search", "search_id"),
    Index("events_run", "run_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", _Text, primary_key=True, doc="the user the token speaks for"),
    Column("digest", LargeBinary, nullable=False, doc="SHA-256 of the token"),
    Column("created_at", _Real, nullable=False),
)

machine_types = Table(
    "machine_types",
    metadata,
    Column("name", _Text, primary_key=True, doc="as its worker spells it"),
    Column("queue", _Text, nullable=False),
    Column("seen_at", _Real, nullable=False),
)

drains = Table(
    "drains",
    metadata,
    Column("worker", _Text, primary_key=True, doc="name of a worker that shall take nothing new"),
    Column("reason", _Text, nullable=False, server_default=""),
    Column("owner", _Text, nullable=False, doc="who asked for it"),
    Column("since", _Real, nullable=False),
)
