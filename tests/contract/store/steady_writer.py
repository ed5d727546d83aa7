"""A process that stores searches for ever and prints the id of each after its commit, to be killed."""

from __future__ import annotations

import sys

from sqlalchemy import Connection

from augury.store import searches
from augury.store.database import Store
from tests.contract.store.databases import NOW, assignments, insert_search

RUNS = 50


def _one(connection: Connection) -> int:
    search_id = insert_search(connection)
    searches.add_runs(connection, NOW, search_id, 0, assignments(RUNS), None)
    return search_id


def main() -> None:
    """Write until killed; at most two closures wait, so that a kill finds one under way."""
    store = Store(sys.argv[1])
    waiting = store.writer.submit(_one)
    while True:
        following = store.writer.submit(_one)
        print(waiting.result(), flush=True)
        waiting = following


if __name__ == "__main__":
    main()
