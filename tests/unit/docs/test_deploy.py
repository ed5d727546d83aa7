"""What deploy/ holds fits the product: commands, variables, ports, times, accounts."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_pages import DEPLOY, PAGES, ROOT, name

from augury.cli.flower import FlowerOptions
from augury.cli.main import run
from augury.spec import GRACE_SECONDS
from augury_workers.main import END_SECONDS

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
#: Ends by itself when its work is done.
ONCE = {"key"}
LASTING = sorted(SERVICES.keys() - ONCE)
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.name != ".env")


def unit(part: str) -> ConfigParser:
    """Read a systemd unit; of keys that stand twice the last one counts."""
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "systemd" / f"augury-{part}.service").read_text())
    return parser


def commands() -> list[list[str]]:
    """Return the words after `augury` of each command line in compose file and units."""
    found = [service["command"] for service in SERVICES.values() if "augury" in service["image"]
             and "command" in service]  # fmt: skip
    found += [shlex.split(" ".join(SERVICES["key"]["entrypoint"]).partition("augury ")[2])]
    found += [shlex.split(unit(part)["Service"]["ExecStart"])[1:] for part in ("server", "worker")]
    return [[word for word in words if not word.startswith("$W")] for words in found]


def test_every_variable_is_one_that_augury_reads() -> None:
    source = "".join(
        path.read_text() for root in ("orchestrator", "workers") for path in (ROOT / root).rglob("*.py")
    )
    for path in FILES:
        for variable in set(re.findall(r"\bAUGURY_[A-Z_]+\b", path.read_text())):
            assert f'"{variable}"' in source, f"{name(path)}: {variable}"


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_is_understood(words: list[str]) -> None:
    assert run([*words, "--help"]) == 0


def test_ports_are_the_same_everywhere() -> None:
    ports = {service: one.get("ports", []) for service, one in SERVICES.items()}
    assert ports["server"] == ["${LAB_ADDRESS:-127.0.0.1}:8800:8800"]
    assert ports["valkey"] == ["${LAB_ADDRESS:-127.0.0.1}:6379:6379"]
    assert ports["flower"] == [f"127.0.0.1:{FlowerOptions().port}:{FlowerOptions().port}"]
    assert {service for service, published in ports.items() if published} == {"server", "valkey", "flower"}
    for path in FILES:
        for port in re.findall(r"//server:(\d+)|LISTEN=\S+:(\d+)", path.read_text()):
            assert "8800" in port, name(path)


@pytest.mark.parametrize("service", LASTING)
def test_services_are_watched_started_again_and_not_root(service: str) -> None:
    one = SERVICES[service]
    assert one["healthcheck"]["test"]
    assert one["restart"] == "unless-stopped"
    assert one["user"] not in ("root", "0")
    assert "no-new-privileges:true" in one["security_opt"]


def test_volumes_and_dependencies_of_the_compose_file_are_there() -> None:
    for service, one in SERVICES.items():
        for volume in one.get("volumes", []):
            assert volume.partition(":")[0] in COMPOSE["volumes"], service
        for needed, how in one.get("depends_on", {}).items():
            done = needed in ONCE
            assert how["condition"] == ("service_completed_successfully" if done else "service_healthy")
            assert done or "healthcheck" in SERVICES[needed]


def test_every_password_is_asked_for_and_on_no_command_line() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    example = set(re.findall(r"^(\w+)=", (DEPLOY / "lab.env.example").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) == example
    for password in example - {"LAB_ADDRESS"}:
        assert f"${{{password}:?" in text
    for service in SERVICES.values():
        words = " ".join([*service.get("command", []), *service.get("entrypoint", [])])
        assert not re.search(r"(?<!\$)\$\{\w*PASSWORD", words)


def test_a_worker_has_time_to_end_its_runs() -> None:
    longest = max(GRACE_SECONDS, END_SECONDS)
    service = unit("worker")["Service"]
    assert service["KillMode"] == "mixed"
    assert service["KillSignal"] == SERVICES["worker"]["stop_signal"] == "SIGQUIT"
    assert int(service["TimeoutStopSec"].removesuffix("s")) > 2 * longest
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > 2 * longest


@pytest.mark.parametrize("part", ["server", "worker"])
def test_units_start_again_and_name_settings_that_are_there(part: str) -> None:
    service = unit(part)["Service"]
    assert (service["Restart"], service["User"]) == ("always", "augury")
    assert int(unit(part)["Unit"]["StartLimitBurst"]) > 1
    assert service["EnvironmentFile"] == f"/etc/augury/{part}.env"
    known = re.findall(r"^(\w+)=", (DEPLOY / "systemd" / f"{part}.env.example").read_text(), re.MULTILINE)
    for variable in re.findall(r"\$\{?(\w+)", service["ExecStart"]):
        assert variable in known


def test_the_image_is_built_as_everything_else_and_is_not_root() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    wanted = re.search(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert wanted is not None
    assert f"uv=={wanted[1]}" in text
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)", final, re.MULTILINE) == [SERVICES["server"]["user"]]
    copied = [
        path for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for path in line.split()
    ]
    kept = re.findall(r"^!(\S+)", (DEPLOY / "Containerfile.dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(kept)
    assert all(Path(ROOT, path).exists() for path in copied)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_nobody_is_told_to_install_from_an_index_what_is_on_none(page: Path) -> None:
    assert not re.search(r"pip install (-\S+ )*'?augury\b", page.read_text())
