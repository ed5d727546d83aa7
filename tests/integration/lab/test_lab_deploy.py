"""The lab of deploy/compose.yaml as processes: its commands and its health checks, and Flower beside it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.support.lab import Lab, free_port, wait_until

pytestmark = pytest.mark.integration

SERVICES = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "compose.yaml").read_text())["services"]


def healthy(service: str, environment: dict[str, str], **replaced: str) -> bool:
    """Do the health check of a service, with other ports and names."""
    kind, *words = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    for old, new in replaced.items():
        words = [word.replace(old.removeprefix("_").replace("__", "@"), new) for word in words]
    words[0] = sys.executable
    return subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 0


def test_flower_and_health_checks_of_the_lab(lab: Lab) -> None:
    lab.serve()
    assert healthy("server", dict(os.environ), _8800=str(lab.port))
    assert not healthy("server", dict(os.environ), _8800=str(free_port()))
    environment = lab.environment(lab.home("worker-cpu"), {"AUGURY_REDIS_URL": lab.redis_url})
    host = os.uname().nodename
    assert not healthy("worker", environment, cpu__lab=f"cpu@{host}")
    lab.worker("CPU", 1)
    lab.wait_for_slots(1)
    assert healthy("worker", environment, cpu__lab=f"cpu@{host}")
    port = free_port()
    process = subprocess.Popen(
        ["augury", "flower", "--port", str(port)],
        env=lab.environment(
            lab.home("flower"), {"AUGURY_REDIS_URL": lab.redis_url, "AUGURY_FLOWER_PASSWORD": "pw"}
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    lab.processes.append(process)
    wait_until(lambda: healthy("flower", environment, _5555=str(port)), "Flower is healthy")

    def tasks(login: str = "augury:pw") -> dict[str, Any]:
        key = base64.b64encode(login.encode()).decode()
        with urlopen(
            Request(f"http://127.0.0.1:{port}/api/tasks", headers={"Authorization": f"Basic {key}"})
        ) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    with pytest.raises(HTTPError, match="401"):
        tasks("augury:wrong")
    lab.ok(
        "hyper", "grid", "--param", "a=1,2,3", "-t", "CPU", "--", "sh", "-c", "sleep 0.5; exit $((:a: / 3))"
    )
    lab.laptop("hyper", "wait", "1")
    wait_until(
        lambda: len(tasks()) == 3 and all(one["result"] for one in tasks().values()), "Flower shows all runs"
    )
    assert {one["routing_key"] for one in tasks().values()} == {"cpu"}
    assert {one["worker"] for one in tasks().values()} == {f"cpu@{host}"}
    assert {name: one["state"] for name, one in tasks().items()} == {
        "run-1.1": "SUCCESS",
        "run-2.1": "SUCCESS",
        "run-3.1": "FAILURE",
    }
