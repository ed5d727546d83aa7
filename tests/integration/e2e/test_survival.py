"""Whatever is killed in the middle of a search, it ends with exactly its runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.e2e.conftest import Shell, wait_until

pytestmark = pytest.mark.integration

TRACED = """\
say() { echo "{\\"run\\": $AUGURY_RUN_ID, \\"attempt\\": $AUGURY_ATTEMPT, \\"what\\": \\"$1\\"}" >> trace; }
say start
for i in 1 2 3 4 5; do
  echo "{\\"name\\": \\"value\\", \\"value\\": :a:$i}" >> "$AUGURY_METRICS"; sleep 0.2
done
say end
"""


def trace(shell: Shell) -> list[dict[str, object]]:
    path = shell.folder / "trace"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def begin(shell: Shell, runs: int = 12) -> None:
    values = ",".join(str(value) for value in range(1, runs + 1))
    shell.ok("hyper", "grid", "--metric", "value", "--param", f"a={values}", "--", TRACED)
    wait_until(lambda: len(trace(shell)) >= 2)


def check_all_ran_once(shell: Shell, runs: int = 12) -> None:
    assert shell.run("hyper", "wait", "1", "--timeout", "90").returncode == 0
    search = shell.search(1)
    assert search["state"] == "finished"
    assert [run["state"] for run in search["runs"]] == ["complete"] * runs
    shell.ok("hyper", "download-metrics", "1", "-f")
    rows = (shell.folder / "metrics.csv").read_text().splitlines()
    for run in search["runs"]:
        assert run["objective"] == float(f"{run['params']['a']}5")
        assert sum(row.startswith(f"{run['id']},") for row in rows) == 5
        check_no_overlap([one for one in trace(shell) if one["run"] == run["id"]], run["attempts"])


def check_no_overlap(lines: list[dict[str, object]], attempts: int) -> None:
    """An attempt begins only after the one before has spoken its last, and only the last is complete."""
    numbers = [one["attempt"] for one in lines]
    assert numbers == sorted(numbers)
    assert [one["what"] for one in lines if one["attempt"] == attempts] == ["start", "end"]


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def part(shell: Shell, words: str) -> psutil.Process:
    """Return the oldest process of the instance with these words in its command line."""
    found = shell.processes(words)
    assert found, words
    return min(found, key=lambda process: process.create_time())


def test_a_killed_server_does_not_disturb_the_trainings(shell: Shell) -> None:
    begin(shell)
    os.kill(int(shell.instance()["pid"]), signal.SIGKILL)
    assert "running" in shell.ok("hyper", "list")
    wait_until(lambda: shell.json("status")["workers"], 3)
    check_all_ran_once(shell)
    starts = [one for one in trace(shell) if one["what"] == "start"]
    assert len(starts) == 12, "no training was started again"
    assert {one["attempt"] for one in starts} == {1}


@pytest.mark.parametrize("words", ["augury.local.keeper", "valkey-server"])
def test_a_killed_keeper_or_broker_does_not_disturb_the_trainings(shell: Shell, words: str) -> None:
    begin(shell)
    if words == "valkey-server":
        holder = (shell.home / "valkey.lock").read_text().split()[0]
        os.kill(int(holder), signal.SIGKILL)
    else:
        part(shell, words).kill()
    check_all_ran_once(shell)
    starts = [one for one in trace(shell) if one["what"] == "start"]
    assert len(starts) == 12
    assert {one["attempt"] for one in starts} == {1}


def test_after_the_worker_is_killed_its_runs_are_executed_again(shell: Shell) -> None:
    begin(shell)
    kill(shell.processes("augury_workers"))
    check_all_ran_once(shell)
    starts = [one for one in trace(shell) if one["what"] == "start"]
    assert 12 < len(starts) <= 16
    again = [one for one in starts if one["attempt"] == 2]
    assert again, "the lost runs are a second attempt"


def test_everything_killed_at_once_and_the_next_command_goes_on(shell: Shell) -> None:
    begin(shell)
    kill(shell.processes())
    check_all_ran_once(shell)


def test_a_frozen_night_ends_no_run(shell: Shell) -> None:
    """A laptop lid: everything stops for a while, then goes on."""
    begin(shell)
    everything = shell.processes()
    trainings = [child for process in everything for child in children(process)]
    frozen = {process.pid: process for process in (*everything, *trainings)}.values()
    for process in frozen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    time.sleep(12)
    for process in frozen:
        if process.is_running():
            process.resume()
    check_all_ran_once(shell)
    assert {one["attempt"] for one in trace(shell)} == {1}


def test_nothing_is_left_behind(shell: Shell) -> None:
    hidden = "(setsid sh -c 'trap \"\" TERM; while true; do sleep 0.5; done' &) ; echo started; sleep :s:"
    shell.ok("hyper", "grid", "--param", "s=0.1,600", "--", hidden)
    tagged = "AUGURY_TAG=local/"

    def survivors() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                variables = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if tagged.encode() in variables and str(shell.home).encode() in variables:
                found.append(int(entry.name))
        return found

    wait_until(lambda: shell.json("info", "2")["state"] == "running")
    wait_until(lambda: shell.json("info", "1")["state"] == "complete")
    wait_until(survivors)
    assert shell.run("hyper", "kill", "1").returncode == 0
    wait_until(lambda: shell.json("info", "2")["state"] == "killed", 10)
    wait_until(lambda: not survivors(), 5)


def test_a_small_search_does_not_wait_behind_a_large_one(shell: Shell) -> None:
    values = ",".join(str(value) for value in range(10_000))
    begun = time.monotonic()
    shell.ok("hyper", "grid", "--quiet", "--param", f"a={values}", "--", "sleep 0.05; : :a:")
    assert time.monotonic() - begun < 10
    wait_until(lambda: shell.json("info", "20")["state"] == "complete")
    shell.ok("hyper", "grid", "--param", "b=1,2,3,4,5", "--", "sleep 0.05; : :b:")
    assert shell.run("hyper", "wait", "2", "--timeout", "60").returncode == 0
    runs = [run for search in (1, 2) for run in shell.search(search)["runs"] if run["started_at"]]
    submitted = shell.search(2)["created_at"]
    later = sorted((run for run in runs if run["started_at"] > submitted), key=lambda run: run["started_at"])
    places = [place for place, run in enumerate(later, 1) if run["search_id"] == 2]
    assert len(places) == 5
    assert max(places) <= 12, places
    assert shell.run("hyper", "kill", "1").returncode == 0
