"""Drained workers: they finish what they run and take nothing new, until somebody undrains them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from augury.store.schema import drains


class Drain(NamedTuple):
    """Why a worker takes nothing new, who asked for it, and since when (seconds since 1970)."""

    worker: str
    reason: str
    owner: str
    since: float


def drain(connection: Connection, now: float, workers: Collection[str], reason: str, owner: str) -> None:
    """Let workers take nothing new; of one that is drained already the newer reason holds."""
    undrain(connection, workers)
    rows = [{"worker": name, "reason": reason, "owner": owner, "since": now} for name in sorted(set(workers))]
    if rows:
        connection.execute(insert(drains), rows)


def undrain(connection: Connection, workers: Collection[str]) -> None:
    """Let workers take runs again."""
    connection.execute(delete(drains).where(drains.c.worker.in_(list(workers))))


def drained(connection: Connection) -> dict[str, Drain]:
    """Return all drains by the name of their worker."""
    return {row.worker: Drain(*row) for row in connection.execute(select(drains).order_by(drains.c.worker))}
