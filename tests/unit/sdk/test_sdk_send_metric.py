"""What `send_metric` writes, what it refuses, and that it never harms a training."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import textwrap
import threading
import warnings
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import augury_sdk
from augury_sdk import MetricWarning, _report, send_metric
from augury_sdk._point import NAME_LIMIT, line, name_text, value_text

if TYPE_CHECKING:
    from conftest import Metrics


def in_a_process(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def send_twice(name: Any, value: object, index: object = None) -> None:
    for _ in range(2):
        send_metric(name, value, index)


def test_a_point_is_exactly_one_line_of_json(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("augury_sdk._report.time.time", lambda: 1732000000.1234567)
    send_metric("keras/val_acc", 0.91, 3)
    send_metric("keras/val_acc", 1)
    assert metrics.text == (
        '{"name": "keras/val_acc", "value": 0.91, "index": 3, "time": 1732000000.123457}\n'
        '{"name": "keras/val_acc", "value": 1, "time": 1732000000.123457}\n'
    )


@pytest.mark.parametrize(
    "name", ["Total Songs / second", 'say "hi"', "back\\slash", "train/loss", "längs 🎯", "two\nlines", " x "]
)
def test_any_text_is_a_name(metrics: Metrics, name: str) -> None:
    send_metric(name, 1)
    send_metric(name, 2)
    assert [point["name"] for point in metrics.points] == [name, name]


def test_half_characters_in_a_name_become_question_marks(metrics: Metrics) -> None:
    send_metric("a\ud800b", 1)
    assert metrics.points[0]["name"] == "a?b"


class Phase(IntEnum):
    LATE = 7


class Tensor:
    """What PyTorch and its kin have in common."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def item(self) -> float:
        (value,) = self.values
        return value

    def __repr__(self) -> str:
        return f"Tensor{self.values}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (3, 3),
        (-0.5, -0.5),
        (1e-300, 1e-300),
        (2**60 + 1, 2**60 + 1),
        (True, 1),
        (Phase.LATE, 7),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(-4), -4),
        (np.uint8(200), 200),
        (np.bool_(True), 1),
        (np.array(0.25), 0.25),
        (np.array([0.25]), 0.25),
        (Tensor(0.75), 0.75),
        (Decimal("0.125"), 0.125),
        (Fraction(1, 4), 0.25),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (np.float32("-inf"), "-Infinity"),
    ],
    ids=repr,
)
def test_numbers_of_every_kind_are_values(metrics: Metrics, value: object, written: object) -> None:
    send_metric("loss", value)
    assert [point["value"] for point in metrics.points] == [written]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([0.1], "type list"),
        (None, "type NoneType"),
        ({}, "type dict"),
        ("0.91", "a text"),
        (np.str_("0.91"), "a text"),
        (b"1", "a text"),
        (np.array([1.0, 2.0]), "type ndarray"),
        (np.array("0.5"), "type ndarray"),
        (Tensor(1.0, 2.0), "type Tensor"),
        (1j, "type complex"),
        (np.complex64(1), "type complex64"),
        (10**400, "range of a float"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_number_is_dropped_with_one_warning_that_names_the_metric(
    metrics: Metrics, value: object, reason: str
) -> None:
    with pytest.warns(MetricWarning, match=rf"metric 'scheduler_lr': .*{reason}.* dropped") as caught:
        send_twice("scheduler_lr", value)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    send_metric("scheduler_lr", 0.1)
    assert [point["value"] for point in metrics.points] == [0.1]


@pytest.mark.parametrize("name", ["", " \t", "x" * (NAME_LIMIT + 1), "a\0b", 7, None, ["loss"]], ids=repr)
def test_what_is_no_name_is_dropped_with_one_warning(metrics: Metrics, name: Any) -> None:
    with pytest.warns(MetricWarning, match="name") as caught:
        send_twice(name, 1)
    assert len(caught) == 1
    assert metrics.points == []


@pytest.mark.parametrize(
    ("index", "written"), [(0, 0), (-1, -1), (np.int64(5), 5), (3.0, 3), (np.float32(2), 2), (Tensor(4), 4)]
)
def test_whole_numbers_of_every_kind_are_indices(metrics: Metrics, index: object, written: int) -> None:
    send_metric("loss", 1, index)
    assert [point["index"] for point in metrics.points] == [written]


@pytest.mark.parametrize("index", [0.5, "3", float("nan"), float("inf"), 2**63, [1]], ids=repr)
def test_a_bad_index_is_left_out_with_one_warning_and_the_point_is_kept(
    metrics: Metrics, index: object
) -> None:
    with pytest.warns(MetricWarning, match="metric 'loss': .*index") as caught:
        send_twice("loss", 1, index)
    assert len(caught) == 1
    assert [(point["value"], "index" in point) for point in metrics.points] == [(1, False), (1, False)]


@given(
    name=st.text(min_size=1, max_size=50).filter(lambda text: text.strip() and "\0" not in text),
    value=st.floats() | st.integers(-(10**300), 10**300),
    index=st.none() | st.integers(-(2**63), 2**63 - 1),
)
def test_every_line_is_strict_json_in_ascii(name: str, value: float, index: int | None) -> None:
    data = line(name_text(name), value_text(value), index, 0.0)
    point = json.loads(data.decode("ascii"), parse_constant=pytest.fail)
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    assert point["name"] == name
    assert point.get("index") == index
    read = point["value"]
    assert (float(read) if isinstance(read, str) else read) == value or (read == "NaN" and math.isnan(value))


def test_warnings_as_errors_do_not_end_a_training(
    metrics: Metrics, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        send_metric("loss", None)
    assert "metric 'loss'" in capsys.readouterr().err


def test_outside_a_run_there_is_one_hint_and_nothing_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        send_metric("loss", 0.5)
        send_metric("loss", [object()])
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "not inside a run" in output.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_a_process_without_stderr_is_not_harmed(stderr: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open(os.devnull, "w")  # noqa: PTH123, SIM115
    file.close()
    monkeypatch.setattr(sys, "stderr", file if stderr else None)
    send_metric("loss", 1)
    monkeypatch.setenv("AUGURY_METRICS", "/nowhere/at/all")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        send_metric("loss", 1)
        send_metric("loss", None)


def test_a_metrics_file_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "later"
    monkeypatch.setenv("AUGURY_METRICS", str(folder / "metrics.jsonl"))
    with pytest.warns(MetricWarning, match=r"points are lost.*No such file") as caught:
        send_twice("loss", 1)
    assert len(caught) == 1
    folder.mkdir()
    send_metric("loss", 3)
    assert json.loads((folder / "metrics.jsonl").read_text())["value"] == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_costs_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGURY_METRICS", "/dev/full")
    with pytest.warns(MetricWarning, match="No space left") as caught:
        send_twice("loss", 1)
    assert len(caught) == 1


def test_a_disk_that_fills_up_within_a_line_spoils_that_line_only(metrics: Metrics) -> None:
    script = """
        import resource
        from augury_sdk import send_metric
        send_metric("loss", 1, 0)
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))
        send_metric("loss", 2, 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        send_metric("loss", 3, 2)
    """
    done = in_a_process(script)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("MetricWarning") == 1
    first, torn, last = metrics.text.splitlines()
    assert (json.loads(first)["index"], json.loads(last)["index"]) == (0, 2)
    assert not torn.endswith("}")


def test_a_pipe_that_nobody_reads_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("AUGURY_METRICS", str(tmp_path / "pipe"))
    with pytest.warns(MetricWarning, match="points are lost"):
        send_metric("loss", 1)


def test_a_metric_never_lands_in_a_file_that_got_the_same_descriptor(
    metrics: Metrics, tmp_path: Path
) -> None:
    send_metric("loss", 1)
    assert _report._file is not None
    descriptor = _report._file._descriptor
    os.close(descriptor)
    with (tmp_path / "checkpoint").open("wb") as checkpoint:
        assert checkpoint.fileno() == descriptor
        send_metric("loss", 2)
    assert (tmp_path / "checkpoint").read_bytes() == b""
    assert [point["value"] for point in metrics.points] == [1, 2]


def test_a_training_that_changes_its_folder_and_empties_its_environment_keeps_reporting(
    metrics: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUGURY_METRICS", "metrics.jsonl")
    send_metric("loss", 1)
    monkeypatch.chdir("/")
    monkeypatch.delenv("AUGURY_METRICS")
    os.close(_report._file._descriptor)  # type: ignore[union-attr]
    send_metric("loss", 2)
    assert [point["value"] for point in metrics.points] == [1, 2]


def test_lines_of_threads_are_never_torn(metrics: Metrics) -> None:
    def report(thread: int) -> None:
        for index in range(500):
            send_metric(f"thread {thread} " + "x" * 200, index, index)

    threads = [threading.Thread(target=report, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    by_name: dict[str, list[int]] = {}
    for point in metrics.points:
        by_name.setdefault(point["name"], []).append(point["index"])
    assert len(by_name) == 8
    assert all(indices == list(range(500)) for indices in by_name.values())


def test_forked_children_and_their_parent_report_side_by_side(metrics: Metrics) -> None:
    script = """
        import os
        from augury_sdk import send_metric
        send_metric("parent", 0)
        children = []
        for rank in range(4):
            child = os.fork()
            if child == 0:
                for index in range(500):
                    send_metric(f"rank {rank}", index, index)
                os._exit(0)
            children.append(child)
        for index in range(500):
            send_metric("parent", index)
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    """
    done = in_a_process(script)
    assert done.returncode == 0, done.stderr
    names = [point["name"] for point in metrics.points]
    assert {name: names.count(name) for name in names} == {
        "parent": 501,
        **{f"rank {rank}": 500 for rank in range(4)},
    }


def test_nothing_that_was_sent_is_lost_by_a_kill(metrics: Metrics) -> None:
    script = """
        import os, signal
        from augury_sdk import send_metric
        for index in range(1000):
            send_metric("loss", index / 7, index)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert in_a_process(script).returncode == -9
    assert [point["index"] for point in metrics.points] == list(range(1000))


def test_importing_the_sdk_needs_the_standard_library_only() -> None:
    script = """
        import sys
        before = set(sys.modules)
        import augury_sdk
        foreign = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
        print(sorted(foreign))
    """
    assert in_a_process(script).stdout.strip() == "['augury_sdk']"


def test_values_of_the_run_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGURY_PARAMS", '{"rate": 0.1, "layers": 3, "cell": "gru", "big": true}')
    monkeypatch.setenv("AUGURY_RUN_ID", "401")
    assert augury_sdk.params() == {"rate": 0.1, "layers": 3, "cell": "gru", "big": True}
    assert augury_sdk.run_id() == 401


def test_outside_a_run_there_are_no_values_and_no_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert augury_sdk.run_id() is None
    assert augury_sdk.params() == {}
    assert augury_sdk.params() == {}
    assert len(re.findall("not inside a run", capsys.readouterr().err)) == 1


@pytest.mark.parametrize("text", ["", "[1]", "{", "3"])
def test_unreadable_values_are_none_with_one_warning(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGURY_PARAMS", text)
    monkeypatch.setenv("AUGURY_RUN_ID", text)
    with pytest.warns(MetricWarning, match="AUGURY_PARAMS is not a JSON object"):
        assert augury_sdk.params() == {}
