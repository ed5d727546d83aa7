"""A search under which something is broken, and the proof that no run was lost or doubled."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.support.lab import Lab, wait_until

RUNS = 8


def start_search(lab: Lab) -> int:
    """Start a search whose runs each write two lines a second apart, and wait until two are under way."""
    trace = lab.folder / "trace"
    values = ",".join(str(number) for number in range(RUNS))
    command = f"echo :n: >> {trace}; sleep 1; echo ended :n: >> {trace}"
    said = lab.ok("hyper", "grid", "--param", f"n={values}", "-q", "--", command)
    wait_until(lambda: len(lines(lab)) >= 2, "two runs are under way")
    return int(said.split()[0])


def lines(lab: Lab) -> list[str]:
    """Return what the runs have written."""
    trace = lab.folder / "trace"
    return trace.read_text().splitlines() if trace.exists() else []


def wait_until_some_ended(lab: Lab) -> None:
    """Wait until the runs that were under way at first have ended."""
    wait_until(lambda: sum("ended" in line for line in lines(lab)) >= 2, "trainings go on")


def assert_each_ran_once(lab: Lab, search: int) -> None:
    """Each run is complete, by its first attempt, and its command ran once."""
    lab.ok("hyper", "wait", str(search), "--timeout", "60")
    runs = lab.json("hyper", "describe", str(search))["runs"]
    assert [(run["state"], run["attempts"]) for run in runs] == [("complete", 1)] * RUNS
    wanted = [f"{ended}{number}" for number in range(RUNS) for ended in ("", "ended ")]
    assert Counter(lines(lab)) == Counter(wanted)


def opened(lab: Lab, path: str) -> Any:
    """Ask the server as a program would, and return its answer, to be read."""
    token = (lab.state / "token").read_text().strip()
    request = Request(f"{lab.url}/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})
    return urlopen(request, timeout=30)


def answer(lab: Lab, path: str) -> tuple[int, str]:
    """Ask the server; return the status and the beginning of an error's sentence."""
    try:
        with opened(lab, path) as reply:
            return reply.status, ""
    except HTTPError as error:
        return error.code, str(json.loads(error.read())["error"]).partition(":")[0]


def refusal(lab: Lab) -> str:
    """Submit a search that is refused; return the one sentence of it."""
    refused = lab.laptop("hyper", "grid", "--param", "n=1", "--", "echo :n:")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    return refused.stderr
