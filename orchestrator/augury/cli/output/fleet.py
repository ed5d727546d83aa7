"""Workers and queues as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from augury.cli.output import text
from augury.cli.output.base import Document


def lines(answer: Document) -> Iterator[str]:
    """Yield the lines about all workers, then those about the queues."""
    workers, queues = answer["workers"], answer["queues"]
    if workers:
        rows = [_row(worker) for worker in workers]
        columns = ["WORKER", "HOST", "TYPES", "BUSY", "RUNS", "LAST SEEN", "STATE"]
        yield from text.table(columns, rows)
    else:
        yield "No workers. Start one with `augury worker -t TYPE`."
    if queues:
        yield ""
        rows = [
            [
                text.plain(queue["queue"]),
                text.plain(", ".join(queue["types"])) or "-",
                f"{queue['queued']:,}",
                f"{queue['running']:,}",
                f"{queue['busy']}/{queue['slots']}",
            ]
            for queue in queues
        ]
        yield from text.table(["QUEUE", "TYPES", "QUEUED", "RUNNING", "BUSY"], rows)


def state(worker: Any) -> str:
    """Return the state of a worker with the reason for it, as in `drained (new disk)`."""
    reason = text.plain(worker.get("reason") or "")
    return (worker.get("state") or "up") + (f" ({reason})" if reason else "")


def _row(worker: Any) -> list[str]:
    seen = worker["last_seen_seconds"]
    shown = [str(run) for run in worker["runs"][:4]]
    if len(worker["runs"]) > len(shown):
        shown.append("…")
    return [
        text.plain(worker["name"]),
        text.plain(worker["host"]),
        text.plain(", ".join(worker["types"])) or "-",
        f"{worker['busy']}/{worker['slots']}",
        ", ".join(shown) or "-",
        "-" if seen is None else text.duration(seen) + " ago",
        state(worker),
    ]
