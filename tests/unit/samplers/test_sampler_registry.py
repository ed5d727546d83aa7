"""Samplers by name, and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points

import pytest

from augury_samplers import create, names, registry

IMPORT = """
import sys, time
start = time.process_time()
import augury_samplers
took = time.process_time() - start
for name in ("grid", "random", "bayesian"):
    sampler = augury_samplers.create(name, num_runs=9)
space = augury_samplers.Space([augury_samplers.Range("x", 0, 1)])
sampler.suggest(space, [], [], 1, 0, None)
print(took, "numpy" in sys.modules or "scipy" in sys.modules or "importlib.metadata" in sys.modules)
"""


def test_importing_is_cheap_and_the_first_runs_need_no_numpy() -> None:
    seconds = []
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
        took, heavy = done.stdout.split()
        assert heavy == "False"
        seconds.append(float(took))
    assert min(seconds) < 0.05


def test_the_three_are_built_in_and_declared_as_entry_points() -> None:
    assert names()[:3] == ("grid", "random", "bayesian")
    declared = {point.name: point.value for point in entry_points(group=registry.ENTRY_POINT_GROUP)}
    assert declared.items() >= registry.BUILT_IN.items()


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="did you mean 'bayesian'") as error:
        create("baysian")
    assert "grid, random, bayesian" in str(error.value)


def test_an_installed_package_adds_a_sampler_but_cannot_replace_one(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mine", "augury_samplers.random:RandomSampler", registry.ENTRY_POINT_GROUP),
        EntryPoint("grid", "augury_samplers.random:RandomSampler", registry.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(registry, "_installed", lambda: EntryPoints(points))
    assert names() == ("grid", "random", "bayesian", "mine")
    assert type(create("mine", num_runs=3)).__name__ == "RandomSampler"
    assert type(create("grid")).__name__ == "GridSampler"
