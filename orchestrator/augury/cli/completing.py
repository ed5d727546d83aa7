"""Ids that shell completion offers: from an instance that is up, quickly, or none at all."""

from __future__ import annotations

import json
import os
import threading
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from augury.cli import lazy
from augury.client.connection import remote_address
from augury.errors import AuguryError
from augury.run import OPEN_SEARCH_STATES, OPEN_STATES

#: Longest wait for the server, in seconds.
SECONDS = 0.15
#: Newest ids offered at most.
MOST = 50

_ABOUT_OPEN_ONES = ("stop", "kill", "watch", "wait")
_HELP_LENGTH = 60

Offer = tuple[str, str]


def take_texts_as_they_are() -> None:
    """Keep Typer from reading the texts beside completions as markup.

    It would import rich for that, which takes longer than all the rest, and turn `:x:` into an emoji.
    """
    classes: Any = import_module("typer._completion_classes")
    classes._sanitize_help_text = str


def search_ids(ctx: Any, incomplete: str) -> list[Offer]:
    """Return the newest searches that begin with `incomplete`, for the command they are completed for."""
    states: tuple[str, ...] = ()
    if ctx.info_name in _ABOUT_OPEN_ONES:
        states = OPEN_SEARCH_STATES
    elif ctx.info_name == "resume":
        states = ("paused",)
    found = _answer(f"/searches?limit={MOST}").get("searches", ())
    return [_offer(item) for item in found if not states or item["state"] in states]


def run_ids(ctx: Any, incomplete: str) -> list[Offer]:
    """Return the newest runs that begin with `incomplete`, for the command they are completed for."""
    states = OPEN_STATES if ctx.info_name in _ABOUT_OPEN_ONES else ()
    query = "".join(f"&state={state}" for state in states)
    given = {str(number) for number in ctx.params.get("runs") or ()}
    found = _answer(f"/runs?limit={MOST}{query}").get("runs", ())
    return [_offer(item) for item in found if str(item["id"]) not in given]


def _offer(item: dict[str, Any]) -> Offer:
    text = f"{item['state']}  {item['command']}"
    shown = text if len(text) <= _HELP_LENGTH else text[: _HELP_LENGTH - 1] + "…"
    # Completion scripts read lines.
    return str(item["id"]), "".join(c if c.isprintable() else " " for c in shown)


def _answer(path: str) -> dict[str, Any]:
    """Return what the instance answers; nothing when there is none, or none that answers in time."""
    found: dict[str, Any] = {}

    def ask() -> None:
        try:
            found.update(_get(path))
        except (AuguryError, OSError, ValueError, import_module("http.client").HTTPException):
            pass

    # A thread, because neither looking up a name nor a slow answer ends by itself in time.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return dict(found)


def _get(path: str) -> dict[str, Any]:
    where = remote_address(os.environ)
    if where is None:
        endpoint = lazy.local.current(lazy.local.locate(make=False).path)
        if endpoint is None:
            return {}
        url, token = endpoint.url, endpoint.token
    else:
        url, token = where.url, where.token
    address, client = urlsplit(url), import_module("http.client")
    kind = client.HTTPSConnection if address.scheme == "https" else client.HTTPConnection
    connection = kind(address.hostname, address.port, timeout=SECONDS)
    try:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("GET", f"{address.path}/api/v1{path}", headers=headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        return answer if response.status == 200 and isinstance(answer, dict) else {}
    finally:
        connection.close()
