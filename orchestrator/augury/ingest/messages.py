"""Entries of the report stream as records; an entry that cannot be read is none."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, TypeAlias

from augury.dispatch.broker import Fields, text
from augury_workers.protocol import parse_origin, signed_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """By which key an entry is signed, and over which text."""

    kid: str
    mac: str
    text: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker asks for a run."""

    run_id: int
    token: int
    nonce: str
    worker: str
    slot: int
    version: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class Died:
    """The processes of an attempt are gone without a result."""

    run_id: int
    token: int
    nonce: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker is there, with so many slots."""

    worker: str
    host: str
    queues: tuple[str, ...]
    types: tuple[str, ...]
    slots: int
    version: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class Report:
    """Number `s` of what an attempt reports in order; `data` holds the bytes of a log report."""

    run_id: int
    token: int
    nonce: str
    s: int
    body: dict[str, Any]
    data: bytes


Message: TypeAlias = Claim | Died | Hello | Report


def is_ordered(fields: Fields) -> bool:
    """Tell whether an entry is a numbered report: of an attempt that holds its run already."""
    return b"k" not in fields


def parse(fields: Fields) -> Message | None:
    """Read an entry of the stream; None (and a line in the log) when it is malformed."""
    try:
        return _parse(fields)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        _log.warning("a malformed report was dropped: %s: %s", type(error).__name__, error)
        return None


def _parse(fields: Fields) -> Message:
    if is_ordered(fields):
        run_id, token, nonce = parse_origin(text(fields, b"a"))
        body = json.loads(fields[b"j"])
        if not isinstance(body, dict):
            raise ValueError("the body of a report is not an object")
        return Report(run_id, token, nonce, int(fields[b"s"]), body, fields.get(b"d", b""))
    kind = text(fields, b"k")
    if kind == "claim":
        return Claim(
            int(fields[b"run"]),
            int(fields[b"token"]),
            text(fields, b"nonce"),
            text(fields, b"worker"),
            int(fields[b"slot"]),
            int(fields[b"v"]),
            _mark(fields),
        )
    if kind == "died":
        return Died(
            int(fields[b"run"]), int(fields[b"token"]), text(fields, b"nonce"), text(fields, b"reason")
        )
    if kind == "hello":
        body = json.loads(fields[b"j"])
        return Hello(
            str(body["worker"]),
            str(body["host"]),
            tuple(str(queue) for queue in body["queues"]),
            tuple(str(name) for name in body["types"]),
            int(body["slots"]),
            int(fields[b"v"]),
            _mark(fields),
        )
    raise ValueError(f"unknown kind '{kind}'")


def _mark(fields: Fields) -> Mark:
    named = {name.decode(): value.decode() for name, value in fields.items()}
    return Mark(named.get("kid", ""), named.get("mac", ""), signed_text(named))
