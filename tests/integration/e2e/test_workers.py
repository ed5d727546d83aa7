"""`augury workers` on a real instance, from a user's shell."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.integration.e2e.conftest import Shell, wait_until

pytestmark = pytest.mark.integration


def test_a_worker_is_drained_and_undrained_from_the_shell(shell: Shell) -> None:
    assert shell.run("workers").returncode == 1, "it starts nothing"
    shell.ok("up")
    name = wait_until(lambda: shell.ok("workers", "-q").strip())
    assert f"there is no worker 'nobody': use one of {name}" in shell.run("workers", "drain", "nobody").stderr
    shell.ok("run", "-b", "--", "sleep 2")
    wait_until(lambda: shell.json("info", "1")["state"] == "running")
    assert shell.ok("workers", "drain", name, "--reason", "new disk").startswith(
        f"{name} takes nothing new; it"
    )
    [worker] = shell.json("workers")["workers"]
    assert (worker["state"], worker["reason"], worker["runs"]) == ("draining", "new disk", [1])
    said = shell.run("run", "-b", "--", "true")
    assert "all workers of type local are drained" in said.stderr
    wait_until(lambda: shell.json("workers")["workers"][0]["state"] == "drained")
    assert "drained (new disk)" in shell.ok("workers")
    assert "drained (new disk)" in shell.ok("status")
    shell.ok("hyper", "grid", "--param", "a=1", "--", "true", ":a:")
    assert "Waiting       all workers of type local are drained: the runs wait" in shell.ok(
        "hyper", "describe", "1"
    )
    # Over a restart of everything.
    shell.ok("down", "--force")
    shell.ok("up")
    wait_until(lambda: shell.json("workers")["workers"][0]["state"] == "drained")
    assert shell.json("info", "2")["state"] == "queued"
    [queue] = shell.json("workers")["queues"]
    assert {"queued": 2, "running": 0, "slots": 0, "busy": 0}.items() <= queue.items()
    shell.ok("workers", "undrain", name)
    wait_until(lambda: shell.json("info", "2")["state"] == "complete")


def test_queues_are_counted_for_programs_with_a_token_only(shell: Shell) -> None:
    shell.ok("up")
    wait_until(lambda: shell.ok("workers", "-q").strip())
    instance = shell.instance()
    request = urllib.request.Request(
        f"{instance['url']}/api/v1/queues", headers={"Authorization": f"Bearer {instance['token']}"}
    )
    with urllib.request.urlopen(request) as answer:
        [queue] = json.load(answer)["queues"]
    assert queue == {
        **{"queue": "local", "types": ["local"], "queued": 0, "running": 0},
        "slots": 4,
        "busy": 0,
    }
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{instance['url']}/api/v1/queues")
