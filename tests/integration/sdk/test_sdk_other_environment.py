"""A training in an environment of its own: Python 3.8, its own NumPy, nothing of Augury installed."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.interpreters import interpreter

from augury_sdk._layout import folder_name, layout

pytestmark = pytest.mark.integration

TRAIN = Path(__file__).parents[3] / "examples" / "train.py"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python 3.8 with a NumPy of its own."""
    base = interpreter("3.8")
    if base is None:
        pytest.skip("no Python 3.8 on this machine")
    environment = tmp_path_factory.mktemp("python38") / "venv"
    subprocess.run([base, "-m", "venv", str(environment)], capture_output=True, check=True, timeout=300)
    command = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "numpy<2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"pip cannot install NumPy for Python 3.8 here: {done.stderr.strip()[-200:]}")
    return command[0]


def train(python: str, folder: Path, *options: str) -> list[dict[str, object]]:
    layout(folder / folder_name())
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder / folder_name()),
        "AUGURY_METRICS": str(folder / "metrics"),
    }
    shutil.copy(TRAIN, folder)
    command = [python, "train.py", *options]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in (folder / "metrics").read_text().splitlines()]


def test_a_training_under_python_3_8_reports_its_numpy_values(python: str, tmp_path: Path) -> None:
    points = train(python, tmp_path, "--learning_rate", "0.3", "--num_layers", "3")
    accuracies = [point["value"] for point in points if point["name"] == "keras/val_acc"]
    assert len(accuracies) == 8
    assert float(str(accuracies[-1])) > 0.8


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("layers", ["2", "100"])
@pytest.mark.parametrize("rate", ["0.001", "1.0"])
def test_the_training_is_finite_at_every_corner(rate: str, layers: str, cell: str, tmp_path: Path) -> None:
    options = ["--learning_rate", rate, "--num_layers", layers, "--cell_type", cell]
    points = train(sys.executable, tmp_path, *options)
    assert len(points) == 24
    assert all(math.isfinite(float(str(point["value"]))) for point in points)
