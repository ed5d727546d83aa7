"""Waiting for the end of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from augury.client.events import readings
from augury.client.search import stalled
from augury.run import OPEN_SEARCH_STATES

if TYPE_CHECKING:
    from augury.client.client import Client

Document = dict[str, Any]

#: Exit codes beside 0 (all runs complete) and 1 (stopped, killed, paused with nothing in flight).
SOME_FAILED, TIMED_OUT = 3, 124


def is_over(search: Document) -> bool:
    """Whether nothing more happens to a search by itself."""
    return search["state"] not in OPEN_SEARCH_STATES or stalled(search)


def exit_code(search: Document) -> int:
    """Return the exit code that tells how a search has ended, `TIMED_OUT` for one that has not."""
    if not is_over(search):
        return TIMED_OUT
    if search["state"] != "finished":
        return 1
    unfinished = any(count for state, count in search["counts"].items() if state != "complete")
    return SOME_FAILED if unfinished else 0


def ended(client: Client, search_id: int, seconds: float | None) -> Document:
    """Wait until a search is over, at most `seconds`, and return it as it is then."""
    search = client.get_search(search_id)
    if is_over(search):
        return search
    with client.doorbell(search=search_id) as bell:
        for search in readings(lambda: client.get_search(search_id), bell, seconds=seconds):
            if is_over(search):
                break
    return search
