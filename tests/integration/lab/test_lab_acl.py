"""Server, workers and Flower as users of the broker with exactly the rights of `augury redis-acl`."""

from __future__ import annotations

import json
import socket
import subprocess
import time

import pytest
import redis

from tests.support.lab import Lab, wait_until

pytestmark = pytest.mark.integration


def _denied(admin: redis.Redis) -> list[tuple[str, str, str]]:
    return [tuple(str(entry[name]) for name in ("username", "reason", "object")) for entry in admin.acl_log()]


@pytest.mark.parametrize("types", [["-t", "K80", "-t", "RTX 4090"], []])
def test_a_search_needs_no_more_rights_than_are_given(lab: Lab, types: list[str]) -> None:
    admin = redis.Redis.from_url(lab.redis_url)
    made = subprocess.run(
        ["augury", "redis-acl", "--json", *types],
        env=lab.environment(lab.home("admin"), {"AUGURY_REDIS_URL": lab.redis_url}),
        capture_output=True,
        check=True,
    )
    users = {user["role"]: user for user in json.loads(made.stdout)["users"]}
    assert list(users) == ["server", "worker", "flower"]
    for user in users.values():
        admin.execute_command(*user["rule"].split(" "))
    lab.redis_url = users["server"]["url"]
    lab.serve()
    lab.redis_url = users["worker"]["url"]
    lab.worker("K80", 2)
    other = lab.worker("RTX 4090", 1, name="rtx")
    lab.wait_for_slots(3)
    flower = subprocess.Popen(
        ["augury", "flower", "--port", "0"],
        env=lab.environment(lab.home("flower"), {"AUGURY_REDIS_URL": users["flower"]["url"]}),
        stdout=subprocess.DEVNULL,
    )
    lab.processes.append(flower)
    time.sleep(1)
    line = 'echo "{\\"name\\": \\"m\\", \\"value\\": :a:}" >> $AUGURY_METRICS'
    for machine_type in ("K80", "RTX 4090"):
        words = ["hyper", "grid", "--param", "a=1,2,3,4", "--metric", "m", "-t", machine_type, "-q", "--"]
        search = lab.ok(*words, line).strip()
        ended = lab.laptop("hyper", "wait", search, "--timeout", "30")
        assert (ended.returncode, _denied(admin)) == (0, [])
        assert lab.json("hyper", "best", search)["objective"] == 4
    search = lab.ok("hyper", "grid", "--param", "a=1,2,3", "-t", "K80", "-q", "--", "sleep 60; : :a:").strip()
    wait_until(
        lambda: [run["state"] for run in lab.json("hyper", "describe", search)["runs"]].count("running") == 2,
        "two runs",
    )
    name = f"k80@{socket.gethostname()}"
    lab.ok("workers", "drain", name)
    wait_until(lambda: admin.smembers("augury:main:drained") == {name.encode()}, "the drain is told")
    lab.ok("hyper", "stop", search)
    lab.laptop("hyper", "wait", search, "--timeout", "30")
    lab.ok("workers", "undrain", name)
    time.sleep(6)  # Flower looks again and again; Kombu looks after what was handed out
    other.terminate()
    assert other.wait(40) == 0
    assert _denied(admin) == []
    assert flower.poll() is None
    _try_what_a_worker_has_no_use_for(users["worker"]["url"], bool(types))


def test_a_worker_with_too_few_rights_says_so(lab: Lab) -> None:
    admin = redis.Redis.from_url(lab.redis_url)
    admin.acl_setuser("few", enabled=True, passwords=["+pw"], commands=["+ping"], keys=["*"])
    lab.serve()
    lab.redis_url = lab.redis_url.replace(":sesame@", "few:pw@")
    assert lab.worker("K80", 1).wait(20) == 2
    said = (lab.home("worker-k80") / "log").read_text().splitlines()[-1]
    assert said.startswith("augury worker: AUGURY_REDIS_URL: its user has too few rights: ")
    assert said.endswith("see `augury redis-acl`")


def _try_what_a_worker_has_no_use_for(url: str, strict: bool) -> None:
    prefix = "augury:main:"
    forbidden: list[tuple[str, ...]] = [
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("CONFIG", "GET", "*"),
        ("MONITOR",),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("GET", "augury:other:leader"),
        ("HGETALL", "augury:other:att:1"),
        ("XADD", "augury:other:reports", "*", "a", "b"),
        ("XRANGE", f"{prefix}reports", "-", "+"),
        ("XREAD", "STREAMS", f"{prefix}reports", "0"),
        ("DEL", f"{prefix}reports"),
        ("XDEL", f"{prefix}reports", "1-1"),
        ("PUBLISH", f"{prefix}/0.celery.pidbox", "{}"),
        ("PUBLISH", "augury:other:/0.celeryev/worker.online", "{}"),
        ("PSUBSCRIBE", f"{prefix}/0.celeryev/*"),
        ("PSUBSCRIBE", "*"),
    ]
    if strict:
        forbidden += [
            ("SET", f"{prefix}leader", "99"),
            ("SADD", f"{prefix}drained", "x"),
            ("DEL", f"{prefix}refused"),
            ("LPUSH", f"{prefix}t4", "{}"),
            ("LPUSH", f"{prefix}k80-large", "{}"),
        ]
    for words in forbidden:
        with redis.Redis.from_url(url, retry=None) as worker:
            with pytest.raises(redis.exceptions.NoPermissionError):
                worker.execute_command(*words)
