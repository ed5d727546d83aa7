"""A run, as far as the SDK can see one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from augury_sdk import _notice, _report


@pytest.fixture(autouse=True)
def fresh_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the SDK had just been imported, outside a run."""
    for name in ("AUGURY_METRICS", "AUGURY_PARAMS", "AUGURY_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_report, "_file", None)
    monkeypatch.setattr(_report, "_names", {})
    monkeypatch.setattr(_notice, "_given", {})


class Metrics:
    """The file that a run's $AUGURY_METRICS names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def text(self) -> str:
        return self.path.read_text("ascii") if self.path.exists() else ""

    @property
    def points(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Metrics:
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("AUGURY_METRICS", str(path))
    return Metrics(path)
