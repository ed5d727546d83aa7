"""`augury ls | cp`: the files that runs have left."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from typer import Exit, Typer

from augury.cli import lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.notices import progress
from augury.cli.options import CpOptions, LsOptions
from augury.cli.output import renderer
from augury.cli.output.text import size
from augury.cli.runs import PANEL
from augury.errors import NotFoundError, UsageError

#: From so many bytes on a copy tells how far it is.
_BIG = 16_000_000
_TELL_SECONDS = 0.2
_PATH = re.compile(r"(?:runs/)?0*([1-9][0-9]{0,17})(?:/(.*))?", re.DOTALL)


def register(app: Typer) -> None:
    """Add these commands to `augury`."""
    for function in (ls, cp):
        app.command(cls=AuguryCommand, rich_help_panel=PANEL)(function)


@takes(
    LsOptions,
    """
    augury ls runs/403
    augury ls runs/403/checkpoints --json
    """,
)
def ls(options: LsOptions) -> None:
    """List the files that a run left in AUGURY_OUTPUT_DIR."""
    out = renderer(options)
    run_id, path = _parsed(options.path)
    run = lazy.Client(notify=progress).runs.get(run_id)
    files = lazy.outputs.below(run.outputs(), path)
    if path and not files:
        raise NotFoundError(f"run {run_id} has no file or folder '{path}': see `augury ls runs/{run_id}`")
    out.outputs(run_id, [{"path": one.path, "bytes": one.bytes} for one in files])


@takes(
    CpOptions,
    """
    augury cp runs/403 .
    augury cp runs/403/checkpoints/best.pt model.pt
    """,
)
def cp(options: CpOptions) -> None:
    """Copy a file or folder that a run left, as `cp -r` does: `runs/403` becomes DEST/403.

    Nothing is overwritten without --force.
    """
    out = renderer(options)
    run_id, path = _parsed(options.source)
    client = lazy.Client(notify=progress)
    run = client.runs.get(run_id)
    copies = lazy.outputs.plan(run_id, run.outputs(), path, options.dest, force=options.force)
    total = sum(copy.source.bytes for copy in copies)
    telling = _Telling(total)
    try:
        lazy.outputs.copy_all(client, run_id, copies, Path(options.dest), telling)
    except KeyboardInterrupt:
        raise Exit(130) from None
    finally:
        telling.end()
    out.copied([str(copy.target) for copy in copies], total)


def _parsed(text: str) -> tuple[int, str]:
    """Read `runs/RUN[/PATH]`."""
    match = _PATH.fullmatch(text)
    if match is None:
        raise UsageError(
            f"'{text}' names no outputs: write runs/RUN or runs/RUN/PATH, as in runs/403/model.pt"
        )
    return int(match[1]), (match[2] or "").strip("/")


class _Telling:
    """Tells on a terminal how far a big copy is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shows = total >= _BIG and sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, done: int) -> None:
        if self._shows and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL_SECONDS
            text = f"{size(done)} of {size(self._total)} ({done / self._total:.0%})"
            print(f"\r{text:<40}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self._shows:
            print(f"\r{'':<40}\r", end="", file=sys.stderr, flush=True)
