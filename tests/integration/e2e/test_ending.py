"""`augury down` with searches that are not over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.e2e.conftest import Shell

pytestmark = pytest.mark.integration


def test_a_paused_search_does_not_keep_the_instance_up(shell: Shell) -> None:
    shell.run("hyper", "random", "-n", "6", "-r", "1", "--param", "x=1:2", "--metric", "no", "-w", "true :x:")
    assert shell.search(1)["state"] == "paused"
    assert "ended" in shell.ok("down")
    assert shell.search(1)["state"] == "paused"


def test_down_by_force_says_that_runs_start_again_and_they_do(shell: Shell, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    line = f'echo "$AUGURY_ATTEMPT" >> {trace}; [ "$AUGURY_ATTEMPT" = 2 ] || sleep 60'
    shell.ok("run", "-b", line)
    deadline = time.monotonic() + 20
    while not trace.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    refused = shell.run("down")
    assert refused.returncode == 1
    assert "start from their beginning at the next start" in refused.stderr
    assert "1 run is ended while under way" in shell.run("down", "--force").stderr
    assert not shell.processes("sleep 60")
    shell.ok("up")
    while shell.json("ps")[0]["state"] != "complete" and time.monotonic() < deadline + 20:
        time.sleep(0.1)
    assert trace.read_text() == "1\n2\n"
    assert shell.json("ps")[0]["attempts"] == 2
