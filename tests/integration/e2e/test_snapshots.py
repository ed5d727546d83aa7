"""The code a search was submitted with, on the local instance: only when asked for, and then for good."""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.e2e.conftest import SLOTS, Shell, wait_until

pytestmark = pytest.mark.integration


def test_edits_after_the_submit_change_nothing_with_snapshot_and_something_without(shell: Shell) -> None:
    inner = shell.folder / "inner"
    inner.mkdir()
    code, gone = shell.folder / "code.sh", shell.folder / "gone.txt"
    code.write_text("echo old")
    gone.write_text("there\n")
    subprocess.run(["git", "init", "-q", str(shell.folder)], check=True)
    words = (
        "--param",
        "a=1,2,3,4,5,6,7,8",
        "-r",
        "1",
        "--",
        "sleep 0.1; : :a:; bash ../code.sh; cat ../gone.txt",
    )
    assert shell.run("hyper", "grid", "--snapshot", *words, cwd=inner).returncode == 0
    code.write_text("echo new")
    assert shell.run("hyper", "grid", "--snapshot", *words, cwd=inner).returncode == 0
    gone.unlink()
    for search in ("1", "2"):
        shell.ok("hyper", "wait", search)
    for run in shell.search(1)["runs"]:
        assert shell.ok("logs", str(run["id"])) == "old\nthere\n"
    for run in shell.search(2)["runs"]:
        assert shell.ok("logs", str(run["id"])) == "new\nthere\n"
    assert len(list((shell.home / "blobs" / "snapshots").iterdir())) == 2
    # Without it a run is in the folder itself, and what it writes stays there.
    shell.ok("run", "--", "echo kept > result.txt")
    assert (shell.folder / "result.txt").read_text() == "kept\n"
    assert not (inner / "result.txt").exists()


def test_what_a_run_with_a_snapshot_writes_is_not_in_the_folder(shell: Shell) -> None:
    shell.variables["MINE"] = "yes"
    out = shell.ok("run", "--snapshot", "--", "echo kept > result.txt; ls; echo $MINE; pwd; echo $PWD")
    assert not (shell.folder / "result.txt").exists()
    lines = out.splitlines()
    assert {"result.txt", "train.py", "yes"} <= set(lines)
    assert lines[-1] == lines[-2]
    assert "/snapshots/run-1-" in lines[-1]


def test_a_snapshot_that_vanished_fails_the_build_in_one_sentence(shell: Shell) -> None:
    for _ in range(SLOTS):
        shell.ok("run", "-b", "--", "sleep 300")
    shell.ok("run", "-b", "--snapshot", "true")
    for blob in (shell.home / "blobs" / "snapshots").iterdir():
        blob.unlink()
    shell.ok("kill", "1")
    found = wait_until(
        lambda: (run := shell.json("info", str(SLOTS + 1)))["state"] not in ("queued", "building") and run
    )
    assert found["state"] == "build_failed"
    assert "is not in the store of files" in found["detail"]
    assert found["snapshot"]
