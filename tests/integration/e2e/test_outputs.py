"""Files that runs leave, as a user of the local instance meets them."""

from __future__ import annotations

import os
import signal

import pytest

from tests.integration.e2e.conftest import Shell, wait_until

pytestmark = pytest.mark.integration


def test_files_of_each_run_of_a_search_are_listed_and_copied(shell: Shell) -> None:
    write = 'mkdir "$AUGURY_OUTPUT_DIR/ckpt"; echo :a: > "$AUGURY_OUTPUT_DIR/ckpt/best"'
    shell.ok("hyper", "grid", "--param", "a=7,8", "--", write)
    shell.ok("hyper", "wait", "1", "--timeout", "60")
    assert "ckpt/best" in shell.ok("ls", "runs/1")
    assert shell.json("ls", "runs/2") == [{"path": "ckpt/best", "bytes": 2}]
    shell.ok("cp", "runs/1", ".")
    shell.ok("cp", "runs/2/ckpt/best", "second")
    assert (shell.folder / "1/ckpt/best").read_text() == "7\n"
    assert (shell.folder / "second").read_text() == "8\n"
    assert shell.run("cp", "runs/1", ".").returncode == 2
    assert shell.json("info", "1")["output_files"] == 1
    slots = [path for path in (shell.home).rglob("output/*") if path.is_file()]
    assert slots == []


def test_a_stopped_run_keeps_what_it_wrote_and_a_killed_one_nothing(shell: Shell) -> None:
    command = 'trap "echo last > \\"$AUGURY_OUTPUT_DIR/c\\"; exit 0" TERM; echo up; sleep 60 & wait'
    for _ in range(2):
        shell.ok("run", "-b", "--", command)
    wait_until(lambda: all("up" in shell.ok("logs", run) for run in ("1", "2")))
    shell.ok("stop", "1")
    shell.ok("kill", "2")
    wait_until(lambda: [shell.json("info", run)["state"] for run in ("1", "2")] == ["stopped", "killed"])
    assert shell.json("ls", "runs/1") == [{"path": "c", "bytes": 5}]
    assert shell.json("ls", "runs/2") == []


def test_everything_killed_while_saving_is_told_and_not_run_again(shell: Shell) -> None:
    big = 'head -c 1500000000 /dev/zero > "$AUGURY_OUTPUT_DIR/big"; echo written'
    shell.ok("run", "-b", "--", big)
    wait_until(lambda: shell.json("info", "1")["state"] == "saving", every=0.01)
    for process in shell.processes("supervisor"):
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: shell.json("info", "1")["state"] == "complete", 60)
    run = shell.json("info", "1")
    assert (run["attempts"], run["cause"]) == (1, "outputs_lost")
    assert "files it wrote did not come back" in run["detail"]
    assert shell.json("ls", "runs/1") == []
