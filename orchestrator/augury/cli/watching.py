"""`hyper watch`: a search kept up to date, drawn live on a terminal, told line by line elsewhere."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from typer import Exit

from augury.cli import judging, lazy
from augury.cli.following import exit_code, is_over
from augury.cli.notices import progress
from augury.cli.options import OneJudgedSearch
from augury.cli.output import contract, renderer, text
from augury.cli.output.base import Document, Judge
from augury.cli.output.table import counted
from augury.client.events import readings
from augury.objective import Point, aggregate, is_better
from augury.run import FINAL_STATES, OPEN_SEARCH_STATES
from augury.spec import Aggregation, Goal

if TYPE_CHECKING:
    from augury.client.client import Client

#: Runs per request while a search is followed; the first reading asks for full pages.
WINDOW = 200
#: Seconds without an answer after which people are told so.
SILENT_SECONDS = 5.0
#: Seconds without an answer after which durations stand still: nobody knows whether these runs go on.
STANDING_SECONDS = 1.5
#: Seconds between two looks whether to tell.
LOOK_SECONDS = 0.25


class Board:
    """A search and its runs as last read, and the best objective after each run that ended."""

    def __init__(self, client: Client, search_id: int, options: OneJudgedSearch) -> None:
        self._client = client
        self._id = search_id
        self._options = options
        self._own = True
        self._first_open = 0
        self._asked: tuple[float, datetime] | None = None
        self.search: Document = {}
        self.judge = Judge(None, "last", "maximize")
        self.runs: dict[int, Document] = {}
        self.curve: list[float] = []
        self.best: Document | None = None
        self.latest: dict[int, float] = {}
        """Run id -> the newest value of the metric, for runs under way."""

    def refresh(self) -> list[Document]:
        """Read what has changed; returns the runs whose state did, in the order in which it happened."""
        if self._asked is None:
            self._asked = time.monotonic(), datetime.now(UTC)
        changed = self._refresh()
        self._asked = None
        return changed

    @property
    def trouble(self) -> str | None:
        """What to tell people while the server does not answer; None when it does."""
        asked = self._asked
        if asked is None or time.monotonic() - asked[0] < SILENT_SECONDS:
            return None
        return f"the server at {self._client.address.url} does not answer; trying on"

    @property
    def now(self) -> datetime:
        """Until when the runs under way are known to go on: now, or when the server fell silent."""
        asked = self._asked
        if asked is None or time.monotonic() - asked[0] < STANDING_SECONDS:
            return datetime.now(UTC)
        return asked[1]

    def _refresh(self) -> list[Document]:
        if not self.search:
            self._judge()
        found = self._read_open()
        # After the runs: its counts must not lag behind what is told of them.
        self._judge()
        if self.search["state"] not in OPEN_SEARCH_STATES:
            # It ended in between: this is the last look, and it must be whole.
            found = self._read_open()
        changed = [run for run in found if run["state"] != self._known_state(run["id"])]
        # Open ones even without a change of state: one that was asked to end says so.
        self.runs |= {run["id"]: run for run in found if run["state"] not in FINAL_STATES}
        ended = sorted(
            (run for run in changed if run["state"] in FINAL_STATES), key=lambda run: run["ended_at"]
        )
        landed = [self._land(run) for run in ended]
        still_open = (run["id"] for run in self.runs.values() if run["state"] not in FINAL_STATES)
        self._first_open = min(still_open, default=max(self.runs, default=0) + 1)
        # A slot's next run starts when the one before has ended: so it is told, whatever was read first.
        return sorted(landed + [run for run in changed if run["state"] not in FINAL_STATES], key=_moment)

    @property
    def ended_runs(self) -> int:
        """How many runs are final."""
        counts = self.search.get("counts") or {}
        return sum(count for state, count in counts.items() if state in FINAL_STATES)

    def ended(self) -> list[Document]:
        """Return the runs that are final, ascending by id."""
        return [run for _, run in sorted(self.runs.items()) if run["state"] in FINAL_STATES]

    def _judge(self) -> None:
        """Read the search, and by what its runs are judged."""
        self.search = self._client.get_search(self._id)
        self.judge = judging.judge_of(self.search, self._options)
        self._own = judging.is_own(self.search, self.judge)

    def _read_open(self) -> list[Document]:
        """Read the runs that were open or unknown, up to a page of runs that all wait."""
        after: int | None = self._first_open - 1
        found: list[Document] = []
        self.latest = {}
        while after is not None:
            limit = WINDOW if self.runs else 1000
            page = self._client.runs_page(self._id, max(after, 0), limit, self.judge.metric)
            found += page["runs"]
            for run_id, point in page.get("latest", {}).items():
                self.latest[int(run_id)] = float(point["value"])
            after = page["next"]
            if self.runs and all(run["state"] == "queued" for run in page["runs"]):
                break
        return found

    def _known_state(self, run_id: int) -> str | None:
        known = self.runs.get(run_id)
        return None if known is None else str(known["state"])

    def _land(self, run: Document) -> Document:
        """Judge a run that has ended, and prolong the curve."""
        if not self._own and run["state"] == "complete":
            points = self._client.iter_points(run=run["id"], name=self.judge.metric)
            series = [Point(point["index"], float(point["value"]), 0.0) for point in points]
            run = {**run, "objective": aggregate(series, cast("Aggregation", self.judge.agg))}
        self.runs[run["id"]] = run
        value = run["objective"]
        if value is None or run["state"] != "complete":
            return run
        if not self.curve or is_better(value, self.curve[-1], cast("Goal", self.judge.goal)):
            self.best = run
        assert self.best is not None
        self.curve.append(self.best["objective"])
        return run


def _moment(run: Document) -> str:
    """Return when a run came into its state, as far as that is stored."""
    if run["state"] == "saving":
        return "~"  # after all times: nothing waits for it but its own end
    return str(run["ended_at"] or run["started_at"] or run["queued_at"])


def watch(client: Client, search_id: int, options: OneJudgedSearch) -> None:
    """Follow a search until it is over.

    Raises:
        Exit: always; 130 when the user detaches, else the code of `hyper wait`.
    """
    board = Board(client, search_id, options)
    # Found before anything is asked of it: what is told of a silent server names it.
    _ = client.address
    try:
        with client.doorbell(search=search_id) as bell:
            changes = readings(board.refresh, bell)
            if sys.stdout.isatty() and not (options.json or options.quiet):
                lazy.live.draw(board, changes)
            else:
                with _telling_of_trouble(board):
                    _tell(board, changes, _line_printer(board, options))
                if not (options.json or options.quiet):
                    renderer(options).waited({**board.search, "best": board.best}, board.ended())
    except KeyboardInterrupt:
        progress(
            f"\nDetached; search #{search_id} goes on. Come back: augury hyper watch {search_id}    "
            f"End it: augury hyper stop {search_id}"
        )
        raise Exit(130) from None
    if board.search["state"] == "paused" and (sys.stdout.isatty() or options.json or options.quiet):
        progress(
            f"Search #{search_id} is paused: {board.search.get('pause_reason') or 'nothing is in flight'}"
        )
    raise Exit(exit_code(cast("dict[str, Any]", board.search)))


def _tell(board: Board, changes: Iterable[list[Document]], tell: Callable[[Document], None]) -> None:
    told = None
    for changed in changes:
        for run in changed:
            tell(run)
        sys.stdout.flush()
        waiting = board.search.get("waiting")
        if waiting and waiting != told:
            progress(waiting)
        told = waiting
        if is_over(cast("dict[str, Any]", board.search)):
            return


@contextmanager
def _telling_of_trouble(board: Board) -> Iterator[None]:
    """Tell on stderr, once for each time it happens, that the server does not answer.

    By a thread: a request to a server that hangs returns after a minute only.
    """
    over = threading.Event()

    def look() -> None:
        told = False
        while not over.wait(LOOK_SECONDS):
            trouble = board.trouble
            if trouble and not told:
                progress(trouble)
            told = trouble is not None

    thread = threading.Thread(target=look, daemon=True, name="augury-trouble")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _line_printer(board: Board, options: OneJudgedSearch) -> Callable[[Document], None]:
    """Return what prints one change of one run."""
    if options.json:
        return lambda run: print(json.dumps(contract.run(run), allow_nan=False))
    if options.quiet:
        return lambda run: print(run["id"]) if run["state"] in FINAL_STATES else None
    return lambda run: print(line(board, run)) if run["state"] != "queued" else None


def line(board: Board, run: Document) -> str:
    """Return a change of a run as one line for people."""
    told = f"run {run['id']} {text.state(run)}"
    if run["state"] not in FINAL_STATES:
        return told
    told += f" after {text.took(run)}"
    if run["objective"] is not None:
        told += f", {text.number(run['objective'])}"
        told += " (best so far)" if board.best is not None and board.best["id"] == run["id"] else ""
    total = board.search.get("num_runs") or board.search.get("created_runs")
    return f"{told}  [{board.ended_runs}/{total}: {counted(board.search['counts'])}]"
