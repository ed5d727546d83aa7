"""What `pip install .` brings: four packages, and nothing generically named beside a user's code."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_file)


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "augury",
        "augury_workers",
        "augury_sdk",
        "augury_samplers",
    }


def test_the_wheel_holds_what_is_read_at_run_time(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "orchestrator", "workers", "samplers"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert {path.split("/", 1)[1] for path in tracked} <= names
    assert {f"{package}/py.typed" for package in ("augury", "augury_workers", "augury_sdk")} <= names


def test_the_wheel_has_its_licence_and_its_command(wheel: zipfile.ZipFile) -> None:
    info = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert b"augury = augury.cli.main:main" in wheel.read(info)
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
