"""Three ways to print the same answers: a table for people, JSON for programs, ids for shells."""

from __future__ import annotations

from augury.cli.options import Output
from augury.cli.output.base import Renderer
from augury.cli.output.json_ import JsonRenderer
from augury.cli.output.quiet import QuietRenderer
from augury.cli.output.table import TableRenderer
from augury.errors import UsageError

__all__ = ["Renderer", "renderer"]


def renderer(options: Output) -> Renderer:
    """Return the renderer that `--json` and `--quiet` ask for.

    Raises:
        UsageError: both are given.
    """
    if options.json and options.quiet:
        raise UsageError("--json and --quiet exclude each other: choose one")
    if options.json:
        return JsonRenderer()
    return QuietRenderer() if options.quiet else TableRenderer()
