"""Flower on the local instance: one command, and what it shows of a search."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.integration.e2e.conftest import Shell, wait_until

pytestmark = pytest.mark.integration


def test_flower_shows_the_runs_of_a_search_on_the_local_instance(shell: Shell) -> None:
    process = subprocess.Popen(
        ["augury", "flower", "--port", "0"],
        cwd=shell.folder,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        told = re.search(r"'local' at (\S+)", process.stdout.readline())
        login = re.search(r"User: (\S+)  password: (\S+)", process.stdout.readline())
        assert told
        assert login
        shell.ok("hyper", "grid", "--param", "a=1,2,3", "--", "sleep", ":a:")
        key = base64.b64encode(f"{login[1]}:{login[2]}".encode()).decode()

        def tasks() -> dict[str, Any]:
            request = Request(f"{told[1]}/api/tasks", headers={"Authorization": f"Basic {key}"})
            with urlopen(request, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
            return found

        wait_until(lambda: set(tasks()) == {"run-1.1", "run-2.1", "run-3.1"})
        shell.ok("hyper", "wait", "1", "--quiet")
        wait_until(lambda: {task["state"] for task in tasks().values()} == {"SUCCESS"})
        for task in tasks().values():
            assert task["routing_key"] == "local"
            assert task["worker"].startswith("local@")
            assert "'state': 'complete'" in task["result"]
    finally:
        process.terminate()
        assert process.wait(10) == 0
