"""`augury hyper list | describe | watch | wait | best | stop | kill | resume | download-metrics`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from typer import Exit, Typer

from augury.cli import judging, lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.files import plain_cell, written_whole
from augury.cli.notices import fail, progress
from augury.cli.options import (
    DownloadOptions,
    ListOptions,
    OneJudgedSearch,
    OneSearch,
    WaitOptions,
)
from augury.cli.output import renderer, text
from augury.cli.output.base import Asked, Document
from augury.errors import UsageError
from augury.grammar.suggest import did_you_mean
from augury.run import OPEN_SEARCH_STATES

if TYPE_CHECKING:
    from augury.client.client import Client

LOOK, END = "Look at searches", "End searches, or let them go on"


def register(app: Typer) -> None:
    """Add these commands to `augury hyper`."""
    for panel, functions in (
        (LOOK, (list_, describe, watch, wait, best, download_metrics)),
        (END, (stop, kill, resume)),
    ):
        for function in functions:
            name = function.__name__.rstrip("_").replace("_", "-")
            app.command(name, cls=AuguryCommand, rich_help_panel=panel)(function)


@takes(
    ListOptions,
    """
    augury hyper list --label paper -n 10
    """,
)
def list_(options: ListOptions) -> None:
    """List searches, oldest first."""
    out, client = renderer(options), _client()
    found = list(client.list_searches(options.number, options.all, options.label))[::-1]
    if options.metric or options.metric_agg or options.goal:
        for search in found:
            search["best"] = judging.best(client, search, judging.judge_of(search, options))
    out.searches(found)


@takes(
    OneJudgedSearch,
    """
    augury hyper describe 59
    augury hyper describe 59 --metric val_loss --metric-agg min --goal minimize
    """,
)
def describe(options: OneJudgedSearch) -> None:
    """Show a search and its runs."""
    out, client = renderer(options), _client()
    search = client.get_search(options.search)
    judge = judging.judge_of(search, options)
    search["best"] = judging.best(client, search, judge)
    out.search(search, judging.judged_runs(client, search, judge), judge)


@takes(
    OneJudgedSearch,
    """
    augury hyper watch 59
    """,
)
def watch(options: OneJudgedSearch) -> None:
    """Follow a search in a live table until it has ended; ^C leaves it running.

    Without a terminal one line is printed for each change (--json: one JSON run a line, --quiet: its id).
    The exit code is that of `hyper wait`, and 130 after ^C.
    """
    renderer(options)
    lazy.watching.watch(_client(), options.search, options)


@takes(
    WaitOptions,
    """
    augury hyper wait 59 --timeout 3600 && augury hyper best 59
    """,
)
def wait(options: WaitOptions) -> None:
    """Wait until a search has ended.

    Exit code 0: every run is complete. 3: it finished with failures. 1: it was stopped, killed, or is paused
    with nothing in flight. 124: --timeout passed.
    """
    out, client = renderer(options), _client()
    search = lazy.following.ended(client, options.search, options.timeout)
    out.waited(search, client.iter_runs(search["id"]))
    raise Exit(lazy.following.exit_code(search))


@takes(
    OneJudgedSearch,
    """
    augury hyper best 59
    augury hyper best 59 --metric val_loss --metric-agg min --goal minimize --quiet
    """,
)
def best(options: OneJudgedSearch) -> None:
    """Show the best run of a search: its values, its objective, and its command to copy."""
    out, client = renderer(options), _client()
    search = client.get_search(options.search)
    judge = judging.needed(client, search, judging.judge_of(search, options))
    judging.warn(judge, options)
    run = judging.best(client, search, judge)
    out.best(search, run, judge)
    if run is None:
        fail(_why_none(client, search, str(judge.metric)))
        raise Exit(1)


@takes(
    OneSearch,
    """
    augury hyper stop 59
    """,
)
def stop(options: OneSearch) -> None:
    """Stop a search: running runs get SIGTERM and 30 s to end, queued ones are killed."""
    out = renderer(options)
    answer = _client().stop_search(options.search)
    out.search_asked(answer["search"], Asked.to_stop(answer))


@takes(
    OneSearch,
    """
    augury hyper kill 59
    """,
)
def kill(options: OneSearch) -> None:
    """Kill a search: SIGKILL to all its runs, now."""
    out = renderer(options)
    answer = _client().kill_search(options.search)
    out.search_asked(answer["search"], Asked.to_kill(answer))


@takes(
    OneSearch,
    """
    augury hyper resume 59
    """,
)
def resume(options: OneSearch) -> None:
    """Let a paused search go on, as after its runs were found to miss their metric."""
    out = renderer(options)
    out.search_resumed(_client().resume_search(options.search)["search"])


@takes(
    DownloadOptions,
    """
    augury hyper download-metrics 59 --dest points.csv
    augury hyper download-metrics 59 --dest - | head
    """,
)
def download_metrics(options: DownloadOptions) -> None:
    """Write all metric points of a search to a CSV file, to stdout with `--dest -`.

    Its columns are run_id, metric_name, timestamp, index, value. A name that a spreadsheet would take for a
    formula gets a ' in front of it.
    """
    out, client = renderer(options), _client()
    if options.dest == "-":
        if options.json or options.quiet:
            raise UsageError("--dest - writes the points to stdout, so it excludes --json and --quiet")
        client.get_search(options.search)
        _write_points(client, options.search, sys.stdout)
        return
    path = Path(options.dest)
    if path.is_dir():
        raise UsageError(f"--dest {path} is a folder: name a file in it")
    if path.exists() and not options.force:
        raise UsageError(f"{path} exists: use -f to overwrite it, or --dest to name another file")
    client.get_search(options.search)
    with written_whole(path) as file:
        count = _write_points(client, options.search, file)
    out.said({"file": str(path), "points": count}, f"{count:,} metric points written to {path}", path)


def _write_points(client: Client, search_id: int, file: TextIO) -> int:
    """Write the points of a search as CSV and return how many there are."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run_id", "metric_name", "timestamp", "index", "value"])
    count = 0
    for point in client.iter_points(search=search_id):
        name = plain_cell(point["name"])
        writer.writerow([point["run_id"], name, point["time"], point["index"], point["value"]])
        count += 1
    return count


def _why_none(client: Client, search: Document, metric: str) -> str:
    """Return why a search has no best run by `metric`."""
    number, state = search["id"], search["state"]
    if not (search.get("counts") or {}).get("complete"):
        if state in OPEN_SEARCH_STATES:
            return f"no run of search {number} is complete yet: see `augury hyper watch {number}`"
        if state in ("stopped", "killed"):
            return f"search {number} was {state} before a run was complete: it has no best run"
        return f"no run of search {number} is complete: see `augury hyper describe {number}`"
    known = client.metric_names(number)
    return (
        f"no complete run of search {number} has a value of metric '{text.clipped(text.plain(metric), 60)}' "
        f"(reported: {text.names(known) or 'none'}){did_you_mean(metric, set(known) - {metric})}"
    )


def _client() -> Client:
    return lazy.Client(notify=progress)
