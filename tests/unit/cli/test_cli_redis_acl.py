"""`augury redis-acl`: what it prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Augury = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUGURY_REDIS_URL", raising=False)


def test_each_role_gets_a_rule_and_a_url_with_its_own_password(augury: Augury) -> None:
    said = augury("redis-acl", "-t", "K80")
    lines = said.out.splitlines()
    rules = [line for line in lines if line.startswith("ACL SETUSER")]
    assert [rule.split()[2] for rule in rules] == ["server", "worker", "flower"]
    passwords = [rule.split(">")[1].split()[0] for rule in rules]
    assert len(set(passwords)) == 3
    for role, password in zip(("server", "worker", "flower"), passwords, strict=True):
        assert f"AUGURY_REDIS_URL='redis://{role}:{password}@HOST:6379/0'   # {role}" in lines
    assert "~augury:main:k80 " in rules[1]
    assert "~augury:main:* " not in rules[1]
    assert all("reset on" in rule and "+@all" not in rule for rule in rules)
    assert augury("redis-acl").out != said.out


def test_instance_and_database_are_those_asked_for(augury: Augury, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGURY_REDIS_URL", "rediss://:old@broker:6380/3?ssl_ca_certs=/ca.pem")
    users = augury("redis-acl", "--instance", "night", "--json").json["users"]
    assert [user["role"] for user in users] == ["server", "worker", "flower"]
    for user in users:
        assert "main" not in user["rule"]
        assert "~augury:night:" in user["rule"]
        assert user["url"].endswith("@broker:6380/3?ssl_ca_certs=/ca.pem")
        assert "old" not in user["url"]
    assert "&augury:night:/3.celeryev/*" in users[1]["rule"]
    assert augury("redis-acl", "-q").out.count("ACL SETUSER") == 3


def test_what_has_no_users_is_refused(augury: Augury, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--instance 'a b' may hold only" in augury("redis-acl", "--instance", "a b").err
    monkeypatch.setenv("AUGURY_REDIS_URL", "unix:///run/redis.sock")
    said = augury("redis-acl")
    assert (said.code, "file modes say who may connect" in said.err) == (2, True)
