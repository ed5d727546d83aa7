"""`augury workers [drain | undrain]`: who works, and who shall take nothing new."""

# No `from __future__ import annotations`: Typer needs the types of the callback as objects.

from dataclasses import dataclass
from typing import Annotated, Any

from typer import Argument, Context, Option, Typer

from augury.cli import lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.helping import AuguryGroup
from augury.cli.options import Output
from augury.cli.output import renderer

app = Typer(name="workers", cls=AuguryGroup, rich_markup_mode=None, invoke_without_command=True)

Names = Annotated[list[str], Argument(metavar="NAME...", help="Names of workers.", show_default=False)]


@dataclass(kw_only=True)
class WorkersOptions(Output):
    """`workers`."""

    context: Context


@dataclass(kw_only=True)
class UndrainOptions(Output):
    """`workers undrain`."""

    names: Names


@dataclass(kw_only=True)
class DrainOptions(UndrainOptions):
    """`workers drain`."""

    reason: Annotated[
        str, Option("--reason", metavar="TEXT", help="Why, for those who look.", show_default=False)
    ] = ""


@app.callback()
@takes(
    WorkersOptions,
    """
    augury workers
    augury workers --json
    """,
)
def workers(options: WorkersOptions) -> None:
    """Show the workers and what each queue has to do; or drain some."""
    if options.context.invoked_subcommand is None:
        renderer(options).workers(lazy.Client(start=False).workers())


@app.command(cls=AuguryCommand)
@takes(
    DrainOptions,
    """
    augury workers drain k80@gpu-1 --reason "new disk"
    """,
)
def drain(options: DrainOptions) -> None:
    """Let workers finish what they run and take nothing new, over restarts, until they are undrained."""
    _said(options, lazy.Client(start=False).drain(options.names, options.reason), _drained)


@app.command(cls=AuguryCommand)
@takes(
    UndrainOptions,
    """
    augury workers undrain k80@gpu-1
    """,
)
def undrain(options: UndrainOptions) -> None:
    """Let drained workers take runs again."""
    answer = lazy.Client(start=False).undrain(options.names)
    _said(options, answer, lambda worker: f"{worker['name']} takes runs again.")


def _said(options: Output, answer: Any, sentence: Any) -> None:
    names = [worker["name"] for worker in answer["workers"]]
    sentences = [sentence(worker) for worker in answer["workers"]]
    renderer(options).said(answer, "\n".join(sentences), "\n".join(names))


def _drained(worker: Any) -> str:
    held = worker["runs"]
    if not held:
        return f"{worker['name']} takes nothing new; it runs nothing."
    return f"{worker['name']} takes nothing new; it finishes {', '.join(f'run {one}' for one in held)}."
