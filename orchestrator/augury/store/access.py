"""Tokens of users (stored hashed) and the machine types that were ever seen."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import Connection, delete, insert, select

from augury.store.schema import machine_types, tokens


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def create_token(connection: Connection, now: float, name: str) -> str:
    """Make a token that speaks for `name`, in place of any earlier one, and return it."""
    token = secrets.token_urlsafe(32)
    connection.execute(delete(tokens).where(tokens.c.name == name))
    connection.execute(insert(tokens), {"name": name, "digest": _digest(token), "created_at": now})
    return token


def revoke_token(connection: Connection, name: str) -> bool:
    """Make the token of `name` worthless; False when there is none."""
    return connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount > 0


def tokens_by_name(connection: Connection) -> list[tuple[str, float]]:
    """Return (name, created at) of every token, in alphabetical order."""
    rows = connection.execute(select(tokens.c.name, tokens.c.created_at).order_by(tokens.c.name))
    return [(row.name, row.created_at) for row in rows]


def owner_of(connection: Connection, token: str) -> str | None:
    """Return whom a token speaks for, or None when it is unknown.

    The look-up goes by digest, so its time tells nothing about a token.
    """
    statement = select(tokens.c.name).where(tokens.c.digest == _digest(token))
    name: str | None = connection.execute(statement).scalar_one_or_none()
    return name


def see_machine_type(connection: Connection, now: float, name: str, queue: str) -> None:
    """Remember that a worker of this machine type exists."""
    known = connection.execute(select(machine_types.c.name).where(machine_types.c.name == name)).first()
    if known is None:
        connection.execute(insert(machine_types), {"name": name, "queue": queue, "seen_at": now})


def known_machine_types(connection: Connection) -> list[str]:
    """Return all machine types ever seen, in alphabetical order."""
    return list(connection.execute(select(machine_types.c.name).order_by(machine_types.c.name)).scalars())
