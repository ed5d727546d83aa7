"""The wheel, installed for each other supported Python of this machine, finishes a search."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT, UV
from tests.integration.e2e.conftest import Shell
from tests.support.interpreters import interpreter

pytestmark = pytest.mark.integration

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
OTHERS = [version for version in SUPPORTED if version != f"{sys.version_info.major}.{sys.version_info.minor}"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions of the lock file: a new release of a dependency breaks nothing here."""
    path = tmp_path_factory.mktemp("locked") / "constraints.txt"
    words = ["export", "--quiet", "--frozen", "--no-dev", "--no-hashes", "--no-emit-project", "-o", path]
    subprocess.run([UV, *words], cwd=ROOT, check=True, timeout=60)
    return path


@pytest.mark.parametrize("version", OTHERS)
def test_a_search_completes_on(
    version: str, shell: Shell, wheel_file: Path, locked: Path, tmp_path: Path
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    environment = tmp_path / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", python, environment], check=True, timeout=60)
    words = ["pip", "install", "--quiet", "--python", environment / "bin" / "python", "-c", locked]
    subprocess.run([UV, *words, wheel_file], check=True, timeout=300)
    shell.variables["PATH"] = f"{environment}/bin:/usr/bin:/bin"
    shell.ok(
        *("hyper", "bayesian", "--num-runs", "8", "--parallel-runs", "2", "--metric", "version"),
        *("--metric-agg", "last", "--param", "rate=.001:1.0:log", "--"),
        "python",
        "-c",
        "import sys, augury_sdk; augury_sdk.send_metric('version', sys.version_info[1] + :rate:)",
    )
    assert shell.run("hyper", "wait", "1", "--timeout", "60").returncode == 0
    runs = shell.search(1)["runs"]
    assert [run["state"] for run in runs] == ["complete"] * 8
    minor = int(version.partition(".")[2])
    assert all(run["objective"] == minor + run["params"]["rate"] for run in runs)
    shell.ok("down")
