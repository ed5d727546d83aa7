"""A new key for a whole lab, while a search runs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from augury_workers.protocol import new_secret_line
from tests.support.lab import Lab, wait_until

pytestmark = pytest.mark.integration


def _give(path: Path, text: str) -> None:
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)


def test_keys_are_rotated_under_a_running_search(lab: Lab) -> None:
    lab.serve()
    lab.worker("K80", 1, name="a")
    b = lab.worker("K80", 1, name="b")
    lab.wait_for_slots(2)
    file, old, new = lab.state / "secret", (lab.state / "secret").read_text(), new_secret_line()
    values = ",".join(str(number) for number in range(60))
    search = lab.ok(
        "hyper", "grid", "--param", f"a={values}", "-q", "--", "sh", "-c", "sleep 0.3; : :a:"
    ).strip()

    def done(worker: str) -> int:
        found = lab.json("hyper", "describe", search)["runs"]
        return sum(
            str(run["worker"]).startswith(f"{worker}@") and run["state"] == "complete" for run in found
        )

    def goes_on(*workers: str) -> None:
        before = {worker: done(worker) for worker in workers}
        for worker in workers:
            wait_until(lambda worker=worker: done(worker) > before[worker] + 1, f"{worker} takes runs")

    goes_on("a", "b")
    _give(file, new + old)  # the server first: it lets the old ones in
    goes_on("a", "b")
    _give(lab.home("worker-a") / "augury.secret", new)  # one is told while it works
    goes_on("a", "b")
    b.terminate()  # the other is started anew, with the server's file as it is
    assert b.wait(40) == 0
    lab.worker("K80", 1, name="b")
    goes_on("a", "b")
    _give(file, new)
    goes_on("a", "b")
    lab.ok("hyper", "wait", search)
    described = lab.json("hyper", "describe", search)
    assert {run["state"] for run in described["runs"]} == {"complete"}
    assert {run["attempts"] for run in described["runs"]} == {1}
    # Who has the old key only is out.
    late = lab.worker("K80", 1, name="c")
    _give(lab.home("worker-c") / "augury.secret", old)
    assert late.wait(30) != 0
    assert "key" in (lab.home("worker-c") / "log").read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert old.split()[1] not in lab.said()
