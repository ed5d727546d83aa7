"""The guarded import of the README, in a script that is run by hand and inside a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run_by_hand(tmp_path: Path, **variables: str) -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(try:\n.*?)```", readme, re.DOTALL)
    script = tmp_path / "train.py"
    script.write_text(block)
    # -S and -I: as in an environment in which nothing is installed.
    flags = [] if variables else ["-I", "-S"]
    env = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        [sys.executable, *flags, script], capture_output=True, text=True, env=env, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_the_script_of_the_readme_runs_by_hand_without_the_sdk(tmp_path: Path) -> None:
    assert run_by_hand(tmp_path) == "val_acc 0.91\n"


def test_the_script_of_the_readme_reports_inside_a_run(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    metrics.touch()
    out = run_by_hand(
        tmp_path, AUGURY_METRICS=str(metrics), AUGURY_RUN_ID="1", PYTHONPATH=str(ROOT / "workers")
    )
    assert out == ""
    assert '"val_acc"' in metrics.read_text()
