"""The local instance without what only Linux has: searches complete, and what ends leaves nothing behind."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.integration.e2e import test_survival as survival
from tests.integration.e2e.conftest import Shell, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def portable(shell: Shell) -> Shell:
    """A user of a system that is not Linux, as far as Augury can tell."""
    shell.variables["AUGURY_PORTABLE"] = "1"
    return shell


def supervisors(shell: Shell) -> list[psutil.Process]:
    return shell.processes("augury_workers.supervisor")


def test_a_search_completes_on_the_portable_path(portable: Shell) -> None:
    portable.ok(
        *(
            "hyper",
            "bayesian",
            "--num-runs",
            "6",
            "--parallel-runs",
            "3",
            "--metric",
            "loss",
            "--metric-agg",
            "last",
        ),
        *("--goal", "minimize", "--param", "rate=.001:1.0:log", "--seed", "3", "--"),
        'echo "{\\"name\\": \\"loss\\", \\"value\\": :rate:}" >> "$AUGURY_METRICS"; sleep 0.2',
    )
    assert portable.run("hyper", "wait", "1", "--timeout", "60").returncode == 0
    runs = portable.search(1)["runs"]
    assert [run["state"] for run in runs] == ["complete"] * 6
    assert all(run["objective"] == run["params"]["rate"] for run in runs)
    assert supervisors(portable)
    parts = [*supervisors(portable), *portable.processes("augury.local.keeper")]
    assert all(process.environ()["AUGURY_PORTABLE"] == "1" for process in parts)
    portable.ok("down")
    wait_until(lambda: not portable.processes(), 10)


@pytest.mark.parametrize(("word", "state"), [("stop", "stopped"), ("kill", "killed")])
def test_stop_and_kill_end_the_tree_on_the_portable_path(portable: Shell, word: str, state: str) -> None:
    tree = "(setsid sleep 600 &) ; sh -c 'sleep 600 & wait' & echo ready; sleep 600"
    portable.ok("run", "-b", "--", tree)
    wait_until(lambda: "ready" in portable.ok("logs", "1"))

    def trainings() -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                variables = process.environ()
            except psutil.Error:
                continue
            if "AUGURY_TAG" in variables and variables.get("AUGURY_HOME") == str(portable.home):
                found.append(process.pid)
        return found

    assert len(trainings()) >= 4
    portable.ok(word, "1")
    wait_until(lambda: portable.json("info", "1")["state"] == state, 15)
    wait_until(lambda: not trainings(), 5)


def test_nothing_is_left_behind_on_the_portable_path(portable: Shell) -> None:
    survival.test_nothing_is_left_behind(portable)


def test_after_the_worker_is_killed_its_runs_are_executed_again_on_the_portable_path(portable: Shell) -> None:
    survival.test_after_the_worker_is_killed_its_runs_are_executed_again(portable)


def test_the_broker_left_by_a_killed_keeper_is_taken_over_on_the_portable_path(portable: Shell) -> None:
    survival.begin(portable, 6)
    survival.part(portable, "augury.local.keeper").send_signal(signal.SIGKILL)
    survival.check_all_ran_once(portable, 6)
    assert {one["attempt"] for one in survival.trace(portable)} == {1}
    holder = int((portable.home / "valkey.lock").read_text().split()[0])
    os.kill(holder, 0)
