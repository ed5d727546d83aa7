"""A limit of time, and the grace to end in, as a user gives them."""

from __future__ import annotations

import time

import pytest

from tests.integration.e2e.conftest import Shell

pytestmark = pytest.mark.integration

CHECKPOINT = """\
trap 'echo saved > "$AUGURY_OUTPUT_DIR/checkpoint"; exit 0' TERM
sleep 60 & wait
"""


def test_a_run_that_takes_too_long_is_stopped_and_keeps_its_files(shell: Shell) -> None:
    (shell.folder / "train.sh").write_text(CHECKPOINT)
    words = ("--timeout", "0.02", "--param", "a=1,2", "--", "sh", "train.sh", ":a:")
    shell.ok("hyper", "grid", *words)
    assert shell.run("hyper", "wait", "1").returncode == 3
    for run in shell.search(1)["runs"]:
        assert (run["state"], run["cause"]) == ("stopped", "timeout")
        shell.ok("cp", f"runs/{run['id']}/checkpoint", f"from-{run['id']}")
        assert (shell.folder / f"from-{run['id']}").read_text() == "saved\n"
    assert "it ran longer than its limit of 1.2 s" in shell.ok("info", "1")


def test_who_does_not_end_is_killed_after_the_grace(shell: Shell) -> None:
    shell.ok("run", "-b", "--grace", "0.5", "trap '' TERM; while :; do sleep 0.1; done")
    deadline = time.monotonic() + 20
    while shell.json("ps")[0]["state"] != "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)  # until the shell has set its trap
    began = time.monotonic()
    shell.ok("stop", "1")
    while shell.json("ps")[0]["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shell.json("ps")[0]["state"] == "stopped"
    assert 0.5 <= time.monotonic() - began < 5
