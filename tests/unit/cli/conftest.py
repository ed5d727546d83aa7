"""The command line against a fake server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from client_fake import FakeServer, complete

from augury.cli import lazy
from augury.cli.main import run
from augury.client import events


@dataclass
class Said:
    """What a command line has printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer().with_runs(complete(401, 0.5), complete(402, 0.7))


@pytest.fixture
def augury(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Said]:
    monkeypatch.setattr(lazy, "Client", lambda **_: server.client(), raising=False)
    monkeypatch.setattr(events, "PAUSES", (0.01,))
    monkeypatch.setattr(events, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(events, "GAP_SECONDS", 0.0)
    monkeypatch.setenv("AUGURY_URL", "http://fake")
    monkeypatch.setenv("AUGURY_TOKEN", "secret")
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Said:
        code = run(words)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call
