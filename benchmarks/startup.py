"""The command line's start: `--help` beside an empty Typer app with as many commands."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.timing import seconds, side_by_side

ROUNDS = 15
LIMIT = 1.5
HELPS = ([], ["hyper"], ["hyper", "grid"], ["hyper", "bayesian"], ["ps"], ["worker"])

EMPTY = """
import typer
app = typer.Typer()
hyper = typer.Typer()
app.add_typer(hyper, name="hyper")
def command(): "Do nothing."
for n in range(12): hyper.command(f"h{n}")(command)
for n in range(13): app.command(f"c{n}")(command)
app()
"""


def run() -> None:
    """Print the ratio for a few helps."""
    print(f"start-up: median of {ROUNDS}, in turn with an empty Typer app of as many commands")
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        for words in HELPS:
            ours, floor = side_by_side(
                lambda words=words: seconds(["augury", *words, "--help"]),
                lambda: seconds([sys.executable, str(empty), "--help"]),
                ROUNDS,
            )
            shown = " ".join(["augury", *words, "--help"])
            print(
                f"  {shown:32} {ours * 1e3:6.0f} ms  empty {floor * 1e3:6.0f} ms  "
                f"ratio {ours / floor:.2f} (<= {LIMIT})"
            )
