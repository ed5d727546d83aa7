"""`augury up | down | status | doctor | worker | metric`: the instance and what runs inside it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

from typer import Argument, Exit, Option, Typer

from augury.cli import lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.notices import progress
from augury.cli.options import Output
from augury.cli.output import renderer

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
class DownOptions:
    """`down`."""

    force: Annotated[bool, Option("-f", "--force", help="End it although runs are in flight.")] = False


@dataclass(kw_only=True)
class WorkerOptions:
    """`worker`."""

    machine_type: Annotated[
        str,
        Option("-t", "--machine-type", metavar="TYPE", help="What it serves, e.g. K80.", show_default=False),
    ]
    slots: Annotated[
        int | None,
        Option("--slots", help="Runs at a time; one for each GPU, else half the cores.", min=1),
    ] = None
    name: Annotated[str | None, Option("--name", help="Its name; this host's unless given.")] = None


@dataclass(kw_only=True)
class MetricOptions:
    """`metric`."""

    name: Annotated[str, Argument(metavar="NAME", help="The metric.", show_default=False)]
    value: Annotated[str, Argument(metavar="VALUE", help="A number, nan or inf.", show_default=False)]
    index: Annotated[
        str | None, Argument(metavar="[INDEX]", help="Where it belongs; the next one unless given.")
    ] = None


@dataclass(kw_only=True)
class NoOptions:
    """Commands without options."""


@takes(
    NoOptions,
    """
    augury up
    """,
)
def up(options: NoOptions) -> None:
    """Start the local instance, or see that it answers; other commands do so by themselves."""
    endpoint = lazy.local.up(notify=progress)
    progress(f"The local instance answers at {endpoint.url} (Augury {endpoint.version}).")


@takes(
    DownOptions,
    """
    augury down
    augury down --force
    """,
)
def down(options: DownOptions) -> None:
    """End the local instance; refused while runs are in flight."""
    if lazy.local.down(force=options.force, notify=progress):
        progress("The local instance has ended.")


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
    out.checks(checks)
    if not all(check["ok"] for check in checks):
        raise Exit(1)


@takes(
    WorkerOptions,
    """
    augury worker -t K80 --slots 4
    """,
)
def worker(options: WorkerOptions) -> None:
    """Serve runs of one machine type on this machine.

    It needs AUGURY_REDIS_URL and AUGURY_SECRET_FILE, and never the database.
    """
    words = [sys.executable, "-m", "augury_workers", "--machine-type", options.machine_type]
    if options.slots is not None:
        words += ["--slots", str(options.slots)]
    if options.name is not None:
        words += ["--name", options.name]
    os.execv(words[0], words)


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
