"""The local instance with its real server and worker: a training outlives all that is killed around it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_processes import end_everything, processes_of

from augury.local import connect, current, diagnosis, down, endpoint, locks
from augury.local.home import Home

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-P", "-m", "augury.cli.main"]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first truthy answer; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {seconds} s")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home folder whose keeper runs the real parts."""
    folder = tmp_path / "h"
    monkeypatch.setenv("AUGURY_HOME", str(folder))
    for name in ("AUGURY_URL", "AUGURY_TOKEN", "AUGURY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    yield Home(folder)
    end_everything(folder)
    shutil.rmtree(tmp_path, ignore_errors=True)


def kill(home: Home, part: str) -> None:
    pid = int(wait_for(lambda: locks.holder(home.lock(part))))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: locks.holder(home.lock(part)) not in (None, pid))


def test_a_training_keeps_its_process_whatever_is_killed_and_ends_with_the_instance(
    home: Home, tmp_path: Path
) -> None:
    connect()
    marker = tmp_path / "pids"
    training = f"echo $$ >> {marker}; exec sleep 3000"
    follower = subprocess.Popen(
        ["augury", "run", "--", training],
        executable=Path(sys.executable).with_name("augury"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: marker.exists() and marker.read_text())
    finally:
        follower.kill()
        follower.wait()
    pid = int(marker.read_text())
    worker = locks.holder(home.lock("worker"))
    for part in ("server", "keeper", "valkey", "server"):
        kill(home, part)
        connect(verify=True)
        os.kill(pid, 0)
    assert marker.read_text().split() == [str(pid)]
    assert locks.holder(home.lock("worker")) == worker
    checks = wait_for(lambda: all(check.ok for check in diagnosis.doctor()) or None)
    assert checks
    assert down(force=True)
    assert not processes_of(home.path)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_adopted_server_ends_the_instance_when_asked(home: Home) -> None:
    connect()
    kill(home, "keeper")
    wait_for(lambda: endpoint.parts_report(home).get("server", {}).get("state") == "adopted")
    assert down()
    assert not processes_of(home.path)
    assert current(home.path) is None
