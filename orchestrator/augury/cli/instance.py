"""`augury up | down | status | doctor | worker | metric`: the instance and what runs inside it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from typer import Argument, Exit, Option, Typer

from augury.cli import lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.notices import progress, say
from augury.cli.options import Output
from augury.cli.output import renderer
from augury.cli.processes import become, settled_environment
from augury.client.connection import remote_address
from augury.errors import AuguryError

INSTANCE, CLUSTER, INSIDE = "The local instance", "Clusters", "Inside a run"


def register(app: Typer) -> None:
    """Add these commands to `augury`."""
    for function in (up, down, status, doctor):
        app.command(cls=AuguryCommand, rich_help_panel=INSTANCE)(function)
    app.command(cls=AuguryCommand, rich_help_panel=CLUSTER)(worker)
    app.command(cls=AuguryCommand, rich_help_panel=INSIDE, context_settings={"ignore_unknown_options": True})(
        metric
    )


@dataclass(kw_only=True)
class DownOptions(Output):
    """`down`."""

    force: Annotated[bool, Option("-f", "--force", help="End it with the runs under way.")] = False


@dataclass(kw_only=True)
class WorkerOptions:
    """`worker`."""

    machine_type: Annotated[
        str | None,
        Option(
            "-t",
            "--machine-type",
            metavar="TYPE",
            help="What it serves, e.g. K80; that of its cards unless given, CPU without any.",
        ),
    ] = None
    slots: Annotated[
        int | None,
        Option(
            "--slots",
            metavar="N",
            help="Runs at a time.",
            min=1,
            show_default="one per card; half the cores without",
        ),
    ] = None
    name: Annotated[
        str | None, Option("--name", metavar="NAME", help="Its name.", show_default="its machine type")
    ] = None
    idle_timeout: Annotated[
        float | None,
        Option(
            "--idle-timeout",
            metavar="MIN",
            help="End after so many minutes without a run.",
            show_default="never",
        ),
    ] = None


@dataclass(kw_only=True)
class MetricOptions:
    """`metric`."""

    name: Annotated[str, Argument(metavar="NAME", help="The metric.", show_default=False)]
    value: Annotated[str, Argument(metavar="VALUE", help="A number, nan or inf.", show_default=False)]
    index: Annotated[
        str | None, Argument(metavar="[INDEX]", help="Where it belongs; the next one unless given.")
    ] = None


@takes(
    Output,
    """
    augury up
    """,
)
def up(options: Output) -> None:
    """Start the local instance, or see that it answers; other commands do so by themselves.

    AUGURY_SLOTS=N sets how many runs go on at a time, for this start and those to come; `auto` goes back to
    half of the cores.
    """
    out = renderer(options)
    _notice_remote()
    endpoint = lazy.local.up(notify=progress)
    if asked := lazy.local.asked_in_vain(os.environ):
        say(f"AUGURY_SLOTS={asked} is read at a start: `augury down`, then `AUGURY_SLOTS={asked} augury up`")
    document = {"url": endpoint.url, "version": endpoint.version, "pid": endpoint.pid}
    out.said(
        document, f"The local instance answers at {endpoint.url} (Augury {endpoint.version}).", endpoint.url
    )


@takes(
    DownOptions,
    """
    augury down
    augury down --force
    """,
)
def down(options: DownOptions) -> None:
    """End the local instance; refused while a search is open, unless it is paused with nothing in flight.

    With --force runs under way are ended. At the next start they start from their beginning, as their next
    attempt; one that was ended three times is interrupted. Waiting runs just wait.
    """
    out = renderer(options)
    _notice_remote()
    said: list[str] = []
    ended = lazy.local.down(force=options.force, notify=said.append)
    for notice in said if ended else ():
        say(notice)
    sentence = "The local instance has ended." if ended else "No local instance is running."
    out.said({"ended": ended}, sentence, "ended" if ended else "none")


@takes(
    Output,
    """
    augury status --json
    """,
)
def status(options: Output) -> None:
    """Show the instance, its workers and what is running; starts nothing."""
    out = renderer(options)
    out.status(lazy.Client(start=False).status())


@takes(
    Output,
    """
    augury doctor
    """,
)
def doctor(options: Output) -> None:
    """Look at everything the local instance needs, change nothing, and name the fixes."""
    out = renderer(options)
    checks = [asdict(check) for check in lazy.local.doctor(notify=progress)]
    if remote := remote_address(os.environ):
        checks.insert(0, _remote_check(remote.url))
    out.checks(checks)
    if not all(check["ok"] for check in checks):
        raise Exit(1)


@takes(
    WorkerOptions,
    """
    augury worker
    augury worker -t K80 --slots 4
    augury worker -t K80 --idle-timeout 15
    """,
)
def worker(options: WorkerOptions) -> None:
    """Serve runs of one machine type on this machine.

    It needs AUGURY_URL, AUGURY_REDIS_URL and AUGURY_SECRET_FILE, and never the database. NVIDIA cards are
    found by themselves; each run sees the one of its slot only.
    """
    words = []
    if options.machine_type is not None:
        words += ["--machine-type", options.machine_type]
    if options.slots is not None:
        words += ["--slots", str(options.slots)]
    if options.name is not None:
        words += ["--name", options.name]
    if options.idle_timeout is not None:
        words += ["--idle-timeout", f"{options.idle_timeout:g}"]
    become("augury_workers", words, settled_environment())


@takes(
    MetricOptions,
    """
    augury metric val_acc 0.93
    augury metric loss 0.25 100
    """,
)
def metric(options: MetricOptions) -> None:
    """Report one point of a metric from inside a run, in any language that can start a program."""
    index = [] if options.index is None else [options.index]
    raise Exit(lazy.sdk_cli.main([options.name, options.value, *index]))


def _notice_remote() -> None:
    if remote := remote_address(os.environ):
        say(f"commands go to {remote.url} (AUGURY_URL), not to the local instance")


def _remote_check(url: str) -> dict[str, Any]:
    """Return the finding of `doctor` about the remote instance that commands go to."""
    finding = {"name": "remote instance", "ok": True, "text": "", "fix": ""}
    try:
        status = lazy.Client().status()
    except AuguryError as error:
        return finding | {"ok": False, "text": str(error), "fix": "correct AUGURY_URL and AUGURY_TOKEN"}
    count = len(status["workers"])
    return finding | {"text": f"{url} answers (Augury {status['version']}), workers up: {count}"}
