"""The folder a worker puts at the end of PYTHONPATH, and every Python that may find it there."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.interpreters import interpreter

import augury_sdk
from augury_sdk._layout import folder_name, layout

PACKAGE = Path(augury_sdk.__file__).parent
EXAMPLES = Path(__file__).parents[3] / "examples"


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_folder_holds_exactly_the_sdk_and_the_shim(tmp_path: Path) -> None:
    target = tmp_path / "state" / folder_name()
    layout(target)
    assert sorted(path.name for path in target.iterdir()) == ["augury_sdk", "spell"]
    assert sorted(path.name for path in (target / "spell").iterdir()) == ["__init__.py", "metrics.py"]
    wanted = {path.name for path in PACKAGE.glob("*.py")} - {"_layout.py"}
    assert {path.name for path in (target / "augury_sdk").glob("*.py")} == wanted
    assert [path.name for path in (tmp_path / "state").iterdir()] == [target.name]


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    layout(tmp_path / "sdk")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sdk").rglob("*")}
    layout(tmp_path / "sdk")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "sdk").rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "sdk").mkdir()
    layout(tmp_path / "sdk")
    assert (tmp_path / "sdk" / "spell" / "metrics.py").exists()


def test_a_damaged_folder_is_repaired(tmp_path: Path) -> None:
    layout(tmp_path / "good")
    layout(tmp_path / "bad")
    (tmp_path / "bad" / "augury_sdk" / "_point.py").write_bytes(b"")
    (tmp_path / "bad" / "augury_sdk" / "_of_an_older_version.py").write_bytes(b"")
    shutil.rmtree(tmp_path / "bad" / "spell")
    layout(tmp_path / "bad")
    assert content(tmp_path / "bad") == content(tmp_path / "good")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good"]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        layout(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_name_changes_with_the_content(tmp_path: Path) -> None:
    other = tmp_path / "augury_sdk"
    shutil.copytree(PACKAGE, other)
    name = "from augury_sdk._layout import folder_name; print(folder_name())"

    def printed() -> str:
        done = subprocess.run(
            [sys.executable, "-c", name], cwd=tmp_path, capture_output=True, check=True, timeout=60
        )
        return done.stdout.decode().strip()

    assert printed() == folder_name()
    with (other / "spell_shim" / "spell" / "metrics.py").open("a") as file:
        file.write("# newer\n")
    assert printed() != folder_name()


def test_many_processes_at_once_make_one_good_folder(tmp_path: Path) -> None:
    target = tmp_path / "sdk"
    script = (
        "import sys; from augury_sdk._layout import layout; sys.stdin.read(); layout(sys.argv[1]);"
        "sys.path.insert(0, sys.argv[1]); import spell.metrics"
    )
    command = [sys.executable, "-c", script, str(target)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    layout(tmp_path / "alone")
    assert content(target) == content(tmp_path / "alone")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "sdk"]


@pytest.mark.parametrize(
    "path",
    [*PACKAGE.rglob("*.py"), *EXAMPLES.glob("*.py")],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_every_file_of_the_sdk_and_the_examples_is_python_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


TRAINING = """
import sys
import augury_sdk
from augury_sdk import send_metric
from spell.metrics import SpellMetricWarning, send_metric as old_send_metric
import spell
assert spell.metrics.send_metric is old_send_metric is send_metric
assert issubclass(SpellMetricWarning, Warning)
assert augury_sdk.__file__.startswith(sys.argv[1]) and spell.__file__.startswith(sys.argv[1])
send_metric("keras/val_acc", augury_sdk.params()["rate"], index=augury_sdk.run_id())
old_send_metric("walk", True)
old_send_metric("text", "as it was")
try:
    augury_sdk.KerasCallback
except ImportError as problem:
    assert "pip install keras" in str(problem)
"""


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_a_training_under_another_python_finds_the_sdk_in_the_folder(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    folder = tmp_path / "with space" / folder_name()
    layout(folder)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"/nowhere{os.pathsep}{folder}",
        "AUGURY_METRICS": str(tmp_path / "metrics"),
        "AUGURY_PARAMS": '{"rate": 0.25}',
        "AUGURY_RUN_ID": "41",
    }
    command = [python, "-c", TRAINING, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SpellMetricWarning") + done.stderr.count("MetricWarning") == 1
    points = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    assert [(point["name"], point["value"], point.get("index")) for point in points] == [
        ("keras/val_acc", 0.25, 41),
        ("walk", 1, None),
    ]
