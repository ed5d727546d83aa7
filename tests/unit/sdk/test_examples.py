"""The examples do what they say: by hand, inside a run, and at the corners of their options."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("example_train", EXAMPLES / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with np.errstate(over="ignore", invalid="ignore"):
        yield module


def last_accuracy(example: ModuleType, rate: float, layers: int, cell: str, epochs: int = 8) -> float:
    *_, (_, _, accuracy) = example.train(rate, layers, example.CELLS[cell], epochs, seed=0)
    return float(accuracy)


def run_example(*command: str, metrics: Path | None = None) -> tuple[str, list[dict[str, Any]]]:
    """Run an example and return its output and points."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUGURY_")}
    if metrics:
        environment["AUGURY_METRICS"] = str(metrics)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    lines = metrics.read_text().splitlines() if metrics and metrics.exists() else []
    return done.stdout, [json.loads(line, parse_constant=pytest.fail) for line in lines]


def test_the_training_learns_with_good_options_and_not_with_bad_ones(example: ModuleType) -> None:
    assert last_accuracy(example, 0.3, 3, "gru") > 0.85
    assert last_accuracy(example, 0.001, 3, "gru") < 0.45
    assert last_accuracy(example, 1.0, 12, "rnn") < 0.45
    assert last_accuracy(example, 0.3, 60, "rnn") < 0.45


def test_the_cell_makes_a_difference(example: ModuleType) -> None:
    accuracies = [last_accuracy(example, 0.3, 3, cell) for cell in ("gru", "lstm", "rnn")]
    assert max(accuracies) - min(accuracies) > 0.2
    assert len(set(accuracies)) == 3


def test_the_same_options_give_the_same_training(example: ModuleType) -> None:
    first = list(example.train(0.3, 2, example.CELLS["lstm"], 2, seed=1))
    assert first == list(example.train(0.3, 2, example.CELLS["lstm"], 2, seed=1))
    assert first != list(example.train(0.3, 2, example.CELLS["lstm"], 2, seed=2))


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_the_gradient_is_the_slope_of_the_loss(example: ModuleType, cell: str) -> None:
    rng = np.random.default_rng(3)
    kind = example.CELLS[cell]
    readings, classes = example.sequences(rng, 40)
    weights = example.initial_weights(rng, kind, 4)
    _, gradients = example.gradients(kind, weights, readings, classes)
    length = math.sqrt(sum(float((part**2).sum()) for part in gradients))

    def loss_at(distance: float) -> float:
        moved = [
            part + distance / length * gradient for part, gradient in zip(weights, gradients, strict=True)
        ]
        return float(example.gradients(kind, moved, readings, classes)[0])

    slope = (loss_at(0.01) - loss_at(-0.01)) / 0.02
    assert slope == pytest.approx(length, rel=0.01)


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("layers", [1, 100])
def test_the_first_epochs_are_finite_at_the_highest_rate(example: ModuleType, layers: int, cell: str) -> None:
    results = list(example.train(1.0, layers, example.CELLS[cell], 2, seed=0))
    assert np.isfinite(results).all()


def test_the_training_reports_three_metrics_per_epoch(tmp_path: Path) -> None:
    options = ["--learning_rate", "0.1", "--num_layers", "2", "--cell_type", "rnn", "--epochs", "3"]
    command = [sys.executable, str(EXAMPLES / "train.py"), *options]
    output, points = run_example(*command, metrics=tmp_path / "metrics")
    assert len(output.splitlines()) == 3
    assert {(point["name"], point["index"]) for point in points} == {
        (f"keras/{key}", epoch) for key in ("loss", "val_loss", "val_acc") for epoch in range(3)
    }


def test_the_training_runs_by_hand_without_augury(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "train.py", tmp_path)
    (tmp_path / "augury_sdk.py").write_text("raise ImportError('not installed')")
    output, _ = run_example(sys.executable, str(tmp_path / "train.py"), "--epochs", "1")
    assert "val_acc" in output


@pytest.mark.parametrize("options", ["--num_layers 0", "--learning_rate 0", "--cell_type cnn", "--epochs 0"])
def test_options_that_make_no_sense_are_refused(options: str) -> None:
    command = [sys.executable, str(EXAMPLES / "train.py"), *options.split()]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 2


def test_the_shell_example_reports_its_loss(tmp_path: Path) -> None:
    output, points = run_example(
        "sh", str(EXAMPLES / "train.sh"), "--steps", "20", metrics=tmp_path / "metrics"
    )
    assert len(output.splitlines()) == 20
    assert [(point["name"], point["index"]) for point in points] == [("loss", step) for step in range(20)]
    assert points[-1]["value"] < 0.5 < points[0]["value"]


def test_the_shell_example_reports_divergence_as_strict_json(tmp_path: Path) -> None:
    options = ["--rate", "0.5", "--momentum", "0.9", "--steps", "700"]
    _, points = run_example("sh", str(EXAMPLES / "train.sh"), *options, metrics=tmp_path / "metrics")
    assert {point["value"] for point in points if isinstance(point["value"], str)} <= {"NaN", "Infinity"}
    assert isinstance(points[-1]["value"], str)


def test_the_shell_example_runs_by_hand() -> None:
    output, _ = run_example("sh", str(EXAMPLES / "train.sh"), "--rate", "0.01", "--steps", "3")
    assert len(output.splitlines()) == 3


def test_counting_reports_a_value_per_step(tmp_path: Path) -> None:
    options = ["--start", "1", "--steps", "4", "--stepsize", "1", "--pause", "0"]
    command = [sys.executable, str(EXAMPLES / "basic.py"), *options]
    output, points = run_example(*command, metrics=tmp_path / "metrics")
    assert output.split() == ["1.0", "2.0", "3.0", "4.0"]
    assert [(point["name"], point["value"]) for point in points] == [
        ("value", value) for value in (1, 2, 3, 4)
    ]
