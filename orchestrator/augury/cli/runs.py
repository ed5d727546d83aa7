"""`augury run | ps | info | logs | stop | kill`: single runs."""

from __future__ import annotations

import json
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

from typer import Exit, Typer

from augury.cli import lazy
from augury.cli.command import COMMAND_LINE, AuguryCommand, SubmitCommand, takes
from augury.cli.notices import progress, say
from augury.cli.options import ListRunsOptions, LogsOptions, OneRun, RunOptions, SomeRuns
from augury.cli.output import renderer
from augury.cli.output.base import Asked
from augury.cli.output.screen import Write, writer
from augury.cli.output.text import plain
from augury.errors import UsageError
from augury.run import FINAL_STATES

if TYPE_CHECKING:
    from augury.client.client import Client

PANEL = "Single runs"

#: Exit codes of a shell for a command that is not there, and for one that cannot be executed.
NOT_FOUND, NOT_EXECUTABLE = 127, 126

#: Lines of a tail at most; of more bytes than the server looks through there are no more lines anyway.
MOST_LINES = 1_000_000

#: The signals behind causes.
_SIGNALS = {"killed": signal.SIGKILL, "oom": signal.SIGKILL, "stopped": signal.SIGTERM}
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
    needed=("command",),
)
def run(options: RunOptions) -> None:
    """Run one command and follow its output; ^C leaves it running.

    The exit code is the command's own; 128 and the signal's number when a signal ended it (137: killed, 143:
    stopped), 127 when it was not found, 126 when it cannot be executed, 1 when its worker was lost.
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
        why = f" ({plain(final['detail'])})" if final.get("detail") else ""
        progress(f"Run #{final['id']} ended as {final['state']}{why}: augury info {final['id']}")
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
    """Print the output of a run as a terminal shows it in the end: of a progress bar, its last state."""
    client = _client()
    write = _json_lines() if options.json else writer(options.raw)
    dropped = 0
    try:
        tail = None if options.tail is None else min(options.tail, MOST_LINES)
        page = client.logs(options.run, offset=0, tail_lines=tail)
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
    _asked(out, Asked.to_stop(_client().stop_runs(list(dict.fromkeys(options.runs)))))


@takes(
    SomeRuns,
    """
    augury kill 403 404
    """,
)
def kill(options: SomeRuns) -> None:
    """Kill runs: SIGKILL, now."""
    out = renderer(options)
    _asked(out, Asked.to_kill(_client().kill_runs(list(dict.fromkeys(options.runs)))))


def _client() -> Client:
    return lazy.Client(notify=progress)


def _asked(out: Any, asked: Asked) -> None:
    out.runs_asked(asked)
    if asked.unknown:
        raise Exit(1)


def _followed(client: Client, run_id: int, show: bool) -> dict[str, Any]:
    """Follow a run to its end, printing its output when `show`; returns it as it is then.

    On a terminal it says, once, that the run waits and for what.
    """
    # On its way into a file or a program the output of the command stays as it is.
    write = writer(raw=not sys.stdout.isatty()) if show else lambda text: None
    dropped = 0
    settled = not sys.stderr.isatty()
    try:
        for page in lazy.LogReader(client, run_id).pages(follow=True):
            settled = settled or _wait_is_settled(client, run_id)
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


def _wait_is_settled(client: Client, run_id: int) -> bool:
    """Say why a queued run waits; False while it is about to start, so that there is nothing to say yet."""
    run = client.get_run(run_id)
    if run["state"] != "queued":
        return True
    status = client.status()
    local, wanted = status["instance"] == "local", str(run["machine_type"]).lower()
    serving = [
        worker
        for worker in status["workers"]
        if local or wanted in (kind.lower() for kind in worker["types"])
    ]
    slots = sum(worker["slots"] for worker in serving)
    if not slots:
        why = "no worker is up" if local else f"no worker of type {plain(run['machine_type'])} is up"
    elif sum(worker["busy"] for worker in serving) >= slots:
        why = f"all {slots} slots are busy" if slots > 1 else "the only slot is busy"
    else:
        return False
    progress(f"Run #{run_id} is queued: {why}; ^C leaves it in the queue.")
    return True


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
    """Return the exit code a shell would give the command of a run that has ended."""
    if run["state"] == "complete":
        return 0
    if run["exit_code"]:
        return int(run["exit_code"])
    if run["cause"] == "could_not_start":
        missing = re.search("was not found|does not exist", run.get("detail") or "")
        return NOT_FOUND if missing else NOT_EXECUTABLE
    number: int | None = _SIGNALS.get(run["cause"])
    if number is None and run["cause"] == "signal":
        named = re.search(r"\b(?:SIG[A-Z0-9]+|signal (\d+))$", run.get("detail") or "")
        if named is not None:
            number = int(named[1]) if named[1] else getattr(signal, named[0], None)
    return 1 if number is None else 128 + number
