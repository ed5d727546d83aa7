"""`augury flower` before Flower is there: what it needs, and what it tells when that is missing."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from augury.cli import lazy
from augury.cli.main import run


class Executed(BaseException):
    """The process would be another program now."""


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Command line and environment of the program that `augury flower` becomes."""
    found: list[tuple[list[str], dict[str, str]]] = []

    def execve(_: str, words: list[str], environment: dict[str, str]) -> None:
        found.append((words, environment))
        raise Executed

    monkeypatch.setattr(os, "execve", execve)
    for name in ("AUGURY_URL", "AUGURY_TOKEN", "AUGURY_CONFIG", "AUGURY_REDIS_URL", "AUGURY_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    return found


def test_without_the_extra_one_sentence_says_how_to_install_it(
    executed: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(["flower"]) == 2
    assert capsys.readouterr().err == "Error: Flower is not installed: pip install 'augury[flower]'\n"
    assert not executed


def test_on_a_cluster_no_secret_is_on_the_command_line(
    executed: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUGURY_REDIS_URL", "redis://:hidden@server:6379/0")
    monkeypatch.setenv("AUGURY_FLOWER_PASSWORD", "open sesame")
    with pytest.raises(Executed):
        run(["flower", "--port", "8801"])
    [(words, environment)] = executed
    assert words[-4:] == ["--address", "127.0.0.1", "--port", "8801"]
    assert not any("hidden" in word or "sesame" in word for word in words)
    assert environment["AUGURY_REDIS_URL"] == "redis://:hidden@server:6379/0"


def test_the_settings_file_can_name_the_cluster(
    executed: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('redis_url = "redis://:pw@server:6379/0"\ninstance = "lab"\n')
    monkeypatch.setenv("AUGURY_CONFIG", str(tmp_path / "config.toml"))
    with pytest.raises(Executed):
        run(["flower"])
    [(_, environment)] = executed
    assert environment["AUGURY_REDIS_URL"] == "redis://:pw@server:6379/0"
    assert environment["AUGURY_INSTANCE"] == "lab"


def test_on_the_local_instance_it_looks_at_its_broker(
    executed: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = SimpleNamespace(
        up=lambda notify: None,
        locate=lambda: SimpleNamespace(socket=lambda: "/h/valkey.sock"),
        broker_url=lambda path: f"unix://{path}?db=0",
    )
    monkeypatch.setattr(lazy, "local", local, raising=False)
    with pytest.raises(Executed):
        run(["flower"])
    [(_, environment)] = executed
    assert environment["AUGURY_REDIS_URL"] == "unix:///h/valkey.sock?db=0"
    assert environment["AUGURY_INSTANCE"] == "local"


def test_for_a_cluster_it_must_be_told_the_broker(
    executed: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUGURY_URL", "http://server:8800")
    monkeypatch.setenv("AUGURY_TOKEN", "t")
    assert run(["flower"]) == 2
    assert "set AUGURY_REDIS_URL to the broker of that cluster" in capsys.readouterr().err
    assert not executed
