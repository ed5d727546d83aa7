"""`augury metric NAME VALUE [INDEX]` and `python -m augury_sdk`, for shells."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from augury_sdk.cli import main

if TYPE_CHECKING:
    from conftest import Metrics


@pytest.mark.parametrize(
    ("words", "value", "index"),
    [
        (["loss", "0.25"], 0.25, None),
        (["loss", "-1"], -1, None),
        (["loss", " 7 ", " 3 "], 7, 3),
        (["loss", "1e-3", "-2"], 0.001, -2),
        (["loss", ".5", "0"], 0.5, 0),
        (["loss", "+5."], 5.0, None),
        (["loss", "nan"], "NaN", None),
        (["loss", "-nan"], "NaN", None),
        (["loss", "-inf"], "-Infinity", None),
        (["loss", "Infinity"], "Infinity", None),
        (["loss", "9" * 5000], "Infinity", None),
    ],
)
def test_a_shell_reports_a_point(metrics: Metrics, words: list[str], value: object, index: object) -> None:
    assert main(words) == 0
    (point,) = metrics.points
    assert (point["name"], point["value"], point.get("index")) == ("loss", value, index)


@pytest.mark.parametrize(
    ("words", "piece"),
    [
        ([], "NAME VALUE [INDEX]"),
        (["loss"], "NAME VALUE [INDEX]"),
        (["loss", "1", "2", "3"], "NAME VALUE [INDEX]"),
        (["loss", "high"], "'high'"),
        (["loss", ""], "''"),
        (["loss", "0,5"], "'0,5'"),
        (["loss", "1_000"], "'1_000'"),
        (["loss", "٣"], "'٣'"),
        (["loss", "1", "2.5"], "'2.5'"),
        (["loss", "1", "9" * 30], "64 bits"),
        (["loss", "1", "9" * 5000], "64 bits"),
        (["", "1"], "empty"),
    ],
)
def test_a_wrong_command_line_is_2_and_names_the_piece(
    metrics: Metrics, words: list[str], piece: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert piece in capsys.readouterr().err
    assert metrics.points == []


def test_outside_a_run_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["loss", "1"]) == 1
    assert "not inside a run" in capsys.readouterr().err


def test_a_point_that_cannot_be_written_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUGURY_METRICS", "/nowhere/at/all")
    assert main(["loss", "1"]) == 1
    assert "No such file" in capsys.readouterr().err


def test_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "INDEX" in capsys.readouterr().out


def test_the_module_is_a_command(metrics: Metrics) -> None:
    done = subprocess.run([sys.executable, "-m", "augury_sdk", "a b", "0.5", "3"], timeout=60, check=False)
    assert done.returncode == 0
    assert [(point["name"], point["value"], point["index"]) for point in metrics.points] == [("a b", 0.5, 3)]
