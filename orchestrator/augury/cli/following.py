"""Waiting for what happens to searches and runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from augury.client.events import readings
from augury.client.search import stalled
from augury.run import FINAL_STATES, OPEN_SEARCH_STATES

if TYPE_CHECKING:
    from augury.client.client import Client

Document = dict[str, Any]


def is_over(search: Document) -> bool:
    """Whether nothing more happens to a search by itself."""
    return search["state"] not in OPEN_SEARCH_STATES or stalled(search)


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


def output(client: Client, run_id: int, offset: int) -> Iterator[Document]:
    """Yield pages of a run's output from `offset` as they come, until it has ended and all is read."""
    with client.doorbell(run=run_id) as bell:
        for run in readings(lambda: client.get_run(run_id), bell):
            while True:
                page = client.logs(run_id, offset=offset)
                if page["next_offset"] > offset or page["complete"]:
                    yield page
                if page["complete"]:
                    return
                if page["next_offset"] == offset:
                    break
                offset = page["next_offset"]
            if run["state"] in FINAL_STATES and page["complete"]:
                return
