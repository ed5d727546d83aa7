"""The searches that are tortured, and what they would have been without a fault."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.stand import MACHINE_TYPE, Stand

TRAINER = Path(__file__).with_name("trainer.py")


@dataclass(frozen=True)
class Submitted:
    """A search under way."""

    id: int
    kind: str
    num_runs: int
    parallel_runs: int
    fault_free: Sequence[dict[str, Any]] | None
    """Parameters of its runs in order, by a dry run before the first fault; None where results count."""


def submit(stand: Stand, runs: int, seed: int, lost_after: float) -> list[Submitted]:
    """Submit a grid, a random and a bayesian search, `runs` runs in all, by the command line.

    A run lasts `n` times 50 ms, 0.5 to 12 s; some last longer than `lost_after`, or an orphan of theirs would
    have ended before it could meet the next attempt.
    """
    columns = max(1, round(0.4 * runs / 12))
    rest = runs - 12 * columns
    drawn = rest // 2
    xs = ",".join(str(number) for number in range(columns))
    styles = ["--choice", "style=plain,deaf"]
    everywhere = ["--choice", "style=plain,deaf,daemon,plain2"]
    specs = [
        ("grid", 12 * columns, 3, ["--param", f"x={xs}", "--param", "n=10,15,20,30,60,200", *styles]),
        ("random", drawn, 2, ["--param", "x=0:1", "--param", "n=10:240:log:int", *everywhere]),
        ("bayesian", rest - drawn, 2, ["--param", "x=0:1", "--param", "n=10:200:log:int", *styles]),
    ]
    common = [
        "-t",
        MACHINE_TYPE,
        "--lost-after",
        f"{lost_after:g}",
        "--metric",
        "value",
        "--metric-agg",
        "min",
    ]
    command = [sys.executable, "-S", str(TRAINER), str(stand.traces), ":n:", ":style:", ":x:"]
    found = []
    for kind, number, parallel, space in specs:
        words = ["hyper", kind, "-r", str(parallel), "--seed", str(seed), *common, *space]
        words += [] if kind == "grid" else ["-n", str(number)]
        fault_free = None
        if kind != "bayesian":
            dry = stand.lab.ok(*words, "--dry-run", "--json", "--", *command)
            fault_free = [run["params"] for run in json.loads(dry)["runs"]]
        search = json.loads(stand.lab.ok(*words, "--json", "--", *command))
        found.append(Submitted(search["id"], kind, number, parallel, fault_free))
    return found
