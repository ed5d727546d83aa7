"""The live table of `hyper watch` on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from augury.cli.following import is_over
from augury.cli.output import text
from augury.cli.output.base import Document
from augury.cli.output.table import counted
from augury.run import FINAL_STATES

if TYPE_CHECKING:
    from augury.cli.watching import Board

#: Lines of the terminal that are not rows of the table.
OTHER_LINES = 9
#: Columns of the progress bar and of the sparkline.
BAR, SPARK = 40, 40

_STYLES = {"complete": "green", "running": "cyan", "building": "cyan", "saving": "cyan", "queued": "dim"}


def draw(board: Board, changes: Iterable[list[Document]]) -> None:
    """Draw `board` after each of `changes` until its search is over."""
    console = Console()
    with Live(
        console=console, get_renderable=lambda: picture(board, console.height), refresh_per_second=4
    ) as live:
        for _ in changes:
            live.refresh()
            if is_over(cast("dict[str, Any]", board.search)):
                break
    if board.search and board.best is not None:
        console.print(f"Best run and its command: augury hyper best {board.search['id']}", highlight=False)


def picture(board: Board, height: int) -> RenderableType:
    """Return the whole picture for a terminal of `height` lines."""
    if not board.search:
        return Text(board.trouble or "…")
    search = board.search
    length = text.duration(text.seconds_between(search["created_at"], search["ended_at"], board.now))
    head = Text.assemble(
        (f"Search #{search['id']}", "bold"), f"  {search['kind']}  {text.state(search)}  {length}"
    )
    total = search.get("num_runs") or search.get("created_runs") or 1
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=total, completed=board.ended_runs, width=BAR),
        f"{board.ended_runs}/{total}",
        counted(search.get("counts") or {}),
    )
    sentences = (board.trouble, search.get("waiting"))
    told = [Text(text.plain(sentence), style="yellow") for sentence in sentences if sentence]
    return Group(head, bar, _best(board), _rows(board, max(height - OTHER_LINES, 3)), *told)


def _best(board: Board) -> Text:
    if board.best is None:
        return Text("no objective yet" if board.judge.metric else "judged by no metric", style="dim")
    value = text.number(board.best["objective"])
    told = f"best {value} by run {board.best['id']}  ({text.plain(str(board.judge))})  "
    return Text.assemble(told, (text.sparkline(board.curve, SPARK), "green"))


def _rows(board: Board, most: int) -> Table:
    """Return the runs in flight, then the latest to end, then those that wait, as many as fit."""
    names = list(board.search["space"])
    judged = board.judge.metric is not None
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (
        "Run ID",
        "Status",
        "Duration",
        *map(text.plain, names),
        *["Latest"] * judged,
        "Objective",
    ):
        table.add_column(column, no_wrap=True)
    for run in shown_runs(board, most):
        best = board.best is not None and board.best["id"] == run["id"]
        values = [text.cell(run["params"].get(name)) for name in names]
        if judged:
            values.append(text.number(board.latest[run["id"]]) if run["id"] in board.latest else "")
        cells = [
            str(run["id"]),
            text.state(run),
            text.took(run, board.now),
            *values,
            text.cell(run["objective"]),
        ]
        style = "bold green" if best else _STYLES.get(run["state"], "red")
        # Text, not str: what a user's value looks like must not be read as markup.
        table.add_row(*(Text(item) for item in cells), style=style)
    return table


def shown_runs(board: Board, most: int) -> list[Document]:
    """Return the `most` telling runs of a board, ascending by id; the best one is among them."""
    running = [run for run in board.runs.values() if run["state"] not in (*FINAL_STATES, "queued")]
    ended = [run for run in board.runs.values() if run["state"] in FINAL_STATES]
    ended.sort(key=lambda run: run["ended_at"], reverse=True)
    waiting = [run for run in board.runs.values() if run["state"] == "queued"]
    chosen = [board.best] if board.best is not None else []
    for run in (*running, *ended, *waiting):
        if len(chosen) >= most:
            break
        if board.best is None or run["id"] != board.best["id"]:
            chosen.append(run)
    return sorted(chosen, key=lambda run: int(run["id"]))
