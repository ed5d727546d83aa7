"""An instance of stand-ins in a folder of its own; nothing of it is left after a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import local_standin
import pytest
from local_processes import end_everything

from augury.local import launch
from augury.local.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home folder (not made yet) whose keeper will run stand-ins."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AUGURY_HOME", str(folder))
    monkeypatch.setattr(launch, "keeper_command", local_standin.keeper_command)
    yield Home(folder)
    end_everything(folder)
    shutil.rmtree(tmp_path, ignore_errors=True)
