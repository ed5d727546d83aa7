"""`augury run | ps | info | logs | stop | kill`: single runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from typer import Exit, Typer

from augury.cli import lazy
from augury.cli.command import COMMAND_LINE, AuguryCommand, SubmitCommand, takes
from augury.cli.notices import progress, say
from augury.cli.options import ListRunsOptions, LogsOptions, OneRun, RunOptions, SomeRuns
from augury.cli.output import renderer
from augury.cli.output.base import Asked
from augury.cli.output.text import ControlFilter
from augury.errors import UsageError
from augury.run import FINAL_STATES

if TYPE_CHECKING:
    from augury.client.client import Client

#: Prints a piece of output; None says that there is no more.
Write: TypeAlias = Callable[[str | None], None]

PANEL = "Single runs"
_STATES = ("queued", "building", "running", "saving", *FINAL_STATES)


def register(app: Typer) -> None:
    """Add these commands to `augury`."""
    app.command(cls=SubmitCommand, context_settings=COMMAND_LINE, rich_help_panel=PANEL)(run)
    for function in (ps, info, logs, stop, kill):
        app.command(cls=AuguryCommand, rich_help_panel=PANEL)(function)


@takes(
    RunOptions,
    """
    augury run -- python train.py --learning_rate 0.1
    augury run -b --param rate=0.1 "python train.py --learning_rate :rate: > log.txt"
    """,
)
def run(options: RunOptions) -> None:
    """Run one command and follow its output; the exit code is the command's own.

    ^C leaves it running.
    """
    out = renderer(options)
    spec, notices = lazy.submitting.run_spec(options)
    for notice in notices:
        say(notice)
    client = _client()
    spec, more = lazy.ship(client, spec, options.snapshot, progress)
    for notice in more:
        say(notice)
    answer = client.submit_run(spec)
    for notice in answer["notices"]:
        if notice not in notices:
            say(notice)
    started = answer["run"]
    if options.background:
        out.launched(started)
        return
    if not (options.json or options.quiet):
        out.launched(started)
    final = _followed(client, started["id"], show=not (options.json or options.quiet))
    if options.json or options.quiet:
        out.launched(final)
    elif final["state"] != "complete":
        progress(f"Run #{final['id']} ended as {final['state']}: augury info {final['id']}")
    raise Exit(_exit_code(final))


@takes(
    ListRunsOptions,
    """
    augury ps --state running
    augury ps -n 200 --label paper --json
    """,
)
def ps(options: ListRunsOptions) -> None:
    """List runs, oldest first."""
    out = renderer(options)
    for state in options.state or ():
        if state not in _STATES:
            raise UsageError(f"--state {state}: use one of {', '.join(_STATES)}")
    found = _client().list_runs(options.number, options.all, options.label, options.state or ())
    out.runs(list(found)[::-1])


@takes(
    OneRun,
    """
    augury info 403
    """,
)
def info(options: OneRun) -> None:
    """Show all about a run."""
    out = renderer(options)
    out.run(_client().get_run(options.run))


@takes(
    LogsOptions,
    """
    augury logs 403
    augury logs -f -n 20 403
    """,
)
def logs(options: LogsOptions) -> None:
    """Print the output of a run."""
    client = _client()
    write = _json_lines() if options.json else _writer(options.raw)
    dropped = 0
    try:
        page = client.logs(options.run, offset=0, tail_lines=options.tail)
        write(page["text"])
        if not page["complete"]:
            for later in lazy.LogReader(client, options.run, page["next_offset"]).pages(options.follow):
                write(later["text"])
                dropped = later["dropped"]
    except KeyboardInterrupt:
        progress(f"\nRun #{options.run} goes on; its output: augury logs -f {options.run}")
        raise Exit(130) from None
    write(None)
    _tell_dropped(max(dropped, page["dropped"]))


@takes(
    SomeRuns,
    """
    augury stop 403 404
    """,
)
def stop(options: SomeRuns) -> None:
    """Stop runs politely: SIGTERM, 30 s to end, then SIGKILL; queued ones are killed."""
    out = renderer(options)
    _asked(out, Asked.to_stop(_client().stop_runs(options.runs)))


@takes(
    SomeRuns,
    """
    augury kill 403 404
    """,
)
def kill(options: SomeRuns) -> None:
    """Kill runs: SIGKILL, now."""
    out = renderer(options)
    _asked(out, Asked.to_kill(_client().kill_runs(options.runs)))


def _client() -> Client:
    return lazy.Client(notify=progress)


def _asked(out: Any, asked: Asked) -> None:
    out.runs_asked(asked)
    if asked.unknown:
        raise Exit(1)


def _followed(client: Client, run_id: int, show: bool) -> dict[str, Any]:
    """Follow a run to its end, printing its output when `show`; returns it as it is then."""
    write = _writer(raw=False) if show else lambda text: None
    dropped = 0
    try:
        for page in lazy.LogReader(client, run_id).pages(follow=True):
            write(page["text"])
            dropped = page["dropped"]
    except KeyboardInterrupt:
        progress(
            f"\nDetached; run #{run_id} goes on. Its output: augury logs -f {run_id}    "
            f"Stop it: augury stop {run_id}    Kill it: augury kill {run_id}"
        )
        raise Exit(130) from None
    _tell_dropped(dropped)
    return client.get_run(run_id)


def _writer(raw: bool) -> Write:
    """Return what prints output, without control sequences where a terminal would obey them."""
    keep = raw or not sys.stdout.isatty()
    clean = ControlFilter()

    def write(text: str | None) -> None:
        if text:
            sys.stdout.write(text if keep else clean.feed(text))
            sys.stdout.flush()

    return write


def _json_lines() -> Write:
    """Return what prints each line of output as a JSON string; None ends an unfinished one."""
    rest = ""

    def write(text: str | None) -> None:
        nonlocal rest
        *lines, rest = (rest + (text or "")).split("\n")
        if text is None and rest:
            lines, rest = [*lines, rest], ""
        sys.stdout.writelines(json.dumps(line) + "\n" for line in lines)
        sys.stdout.flush()

    return write


def _tell_dropped(count: int) -> None:
    if count:
        say(f"{count:,} bytes of output were left out: more came than is kept")


def _exit_code(run: dict[str, Any]) -> int:
    """Return a run's exit code; 1 for one that has none and is not complete."""
    if run["state"] == "complete":
        return 0
    code = run["exit_code"]
    return code if code else 1
