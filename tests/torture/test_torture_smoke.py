"""A short torture of the product, and of a control build, which has to be found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.harness import Plan, Torture, torture
from tests.torture.stand import Build

pytestmark = pytest.mark.integration

SEED = 2


def smoke(folder: Path, build: Build) -> Torture:
    folder.mkdir(exist_ok=True)
    plan = Plan(runs=40, faults=25, seed=SEED, minutes=2.5, build=build, lost_after=6.0, gap=1.2)
    result = torture(folder, f"sqlite:///{folder}/store.db", plan)
    print("\n".join([*result.log, *result.findings.lines(), str(dict(result.findings.numbers))]))
    return result


def test_forty_runs_under_25_faults_are_each_executed_once(tmp_path: Path) -> None:
    result = smoke(tmp_path / "stand", "product")
    assert result.findings.ok, "\n".join(result.findings.lines())
    assert result.faults.total() >= 20


def test_the_control_build_is_found_out(tmp_path: Path) -> None:
    result = smoke(tmp_path / "stand", "control")
    assert result.findings.violations["I2"], "attempts of one run were never alive at once"
