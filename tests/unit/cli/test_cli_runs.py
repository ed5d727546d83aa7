"""`augury run | ps | info | logs | stop | kill` and the commands of the instance."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from client_fake import END, START, STATUS, FakeServer, complete, run_document

from augury import UnavailableError
from augury.cli import lazy
from augury_workers.protocol import parse_secrets

Augury = Callable[..., Any]


def ends(server: FakeServer, **end: Any) -> None:
    """Let a submitted run print a line and end."""

    def step(method: str, path: str) -> None:
        if path == "/runs/401/logs" and not server.log:
            server.log = b"hello\n"
        elif path == "/runs/401/logs":
            server.runs[401] |= {"started_at": START, "ended_at": END} | end

    server.on_request = step


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"state": "complete", "exit_code": 0}, 0),
        ({"state": "failed", "exit_code": 66}, 66),
        ({"state": "failed", "cause": "signal", "detail": "it was ended by SIGSEGV"}, 139),
        ({"state": "failed", "cause": "signal", "detail": "it was ended by signal 40"}, 168),
        ({"state": "failed", "cause": "oom", "detail": "memory ran out"}, 137),
        ({"state": "stopped", "exit_code": 0, "cause": "stopped"}, 143),
        ({"state": "stopped", "exit_code": 5, "cause": "stopped"}, 5),
        ({"state": "killed", "cause": "killed"}, 137),
        (
            {"state": "failed", "cause": "could_not_start", "detail": "the command 'x' was not found in …"},
            127,
        ),
        ({"state": "failed", "cause": "could_not_start", "detail": "the command /x does not exist"}, 127),
        ({"state": "failed", "cause": "could_not_start", "detail": "the command /x is a directory"}, 126),
        ({"state": "interrupted", "cause": "lost"}, 1),
    ],
)
def test_a_run_is_followed_and_its_exit_code_passed_on(
    augury: Augury, server: FakeServer, end: dict[str, Any], code: int
) -> None:
    ends(server, **end)
    said = augury("run", "--", "echo", "hello")
    assert said.code == code
    assert said.out == "💫 Casting run #401…\nhello\n"
    assert (end["state"] in said.err) == (code != 0)
    assert end.get("detail", "") in said.err


def test_a_run_as_json_is_one_value_at_its_end(augury: Augury, server: FakeServer) -> None:
    ends(server, state="failed", exit_code=3)
    said = augury("run", "--json", "--", "false")
    assert said.code == 3
    assert (said.json["id"], said.json["state"], said.json["exit_code"]) == (401, "failed", 3)


def test_a_run_in_the_background_is_not_followed(augury: Augury, server: FakeServer) -> None:
    said = augury("run", "-b", "--", "sleep", "100")
    assert (said.code, said.out) == (0, "💫 Casting run #401…\n")
    assert augury("run", "-b", "-q", "--", "sleep", "100").out == "401\n"


def test_interrupting_a_run_leaves_it_running(augury: Augury, server: FakeServer) -> None:
    def interrupt(method: str, path: str) -> None:
        if path == "/runs/401/logs":
            raise KeyboardInterrupt

    server.on_request = interrupt
    said = augury("run", "--", "sleep", "100")
    assert said.code == 130
    for way in ("augury logs -f 401", "augury stop 401", "augury kill 401"):
        assert way in said.err


def test_a_run_takes_values_for_its_placeholders(augury: Augury, server: FakeServer) -> None:
    assert augury("run", "-b", "--param", "rate=007", "--", "t", ":rate:").code == 0
    assert server.submitted["space"] == {"rate": {"values": [7], "texts": ["007"]}}
    assert augury("run", "-b", "--param", "rate=1,2", "--", "t", ":rate:").code == 2


@pytest.mark.parametrize(
    ("slots", "busy", "kind", "why"),
    [
        (4, 4, "k80", "all 4 slots are busy"),
        (1, 1, "K80", "the only slot is busy"),
        (4, 4, "V100", "no worker of type V100 is up"),
        (4, 3, "K80", None),
    ],
)
def test_a_queued_run_says_once_why_it_waits(
    augury: Augury, server: FakeServer, monkeypatch: pytest.MonkeyPatch, slots: int, busy: int, kind: str,
    why: str | None,
) -> None:  # fmt: skip
    monkeypatch.setitem(STATUS, "workers", [{**STATUS["workers"][0], "slots": slots, "busy": busy}])

    def step(method: str, path: str) -> None:
        if path == "/runs/401/logs":
            server.runs[401]["machine_type"] = kind
            if len(server.asked(path)) > 3:
                server.runs[401] |= {"state": "complete", "ended_at": END}

    server.on_request = step
    assert "queued" not in augury("run", "--", "train").err
    server.requests.clear()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    expected = f"Run #401 is queued: {why}; ^C leaves it in the queue.\n" if why else ""
    assert augury("run", "--", "train").err == expected


def test_runs_are_listed_oldest_first(augury: Augury, server: FakeServer) -> None:
    server.runs[402] |= {"state": "failed", "exit_code": 66, "search_id": None}
    lines = augury("ps").out.splitlines()
    assert lines[0].split() == ["ID", "SEARCH", "STATUS", "STARTED", "DURATION", "COMMAND"]
    assert lines[1].split()[:3] == ["401", "59", "complete"]
    assert lines[2].split()[:4] == ["402", "-", "failed", "(66)"]
    assert augury("ps", "-q").out == "401\n402\n"
    assert [run["id"] for run in augury("ps", "--json", "-n", "1").json] == [402]


def test_runs_are_listed_by_state(augury: Augury, server: FakeServer) -> None:
    assert augury("ps", "--state", "failed").code == 0
    assert server.asked("/runs")[-1] == {"limit": "50", "state": "failed"}
    said = augury("ps", "--state", "broken")
    assert said.code == 2
    assert "interrupted" in said.err


def test_a_run_is_shown(augury: Augury, server: FakeServer) -> None:
    server.runs[401] |= {"detail": "the program was not found", "cause": "could_not_start", "state": "failed"}
    out = augury("info", "401").out
    for piece in (
        "Run #401",
        "failed (could not start)",
        "the program was not found",
        "rate = 0.1",
        "python train.py 0.1",
    ):
        assert piece in out
    shown = augury("info", "401", "--json").json
    assert (shown["id"], shown["cwd"], shown["attempt_list"]) == (401, "/w", [])
    assert augury("info", "9").code == 1


def test_output_is_printed_whole_or_by_its_end(augury: Augury, server: FakeServer) -> None:
    server.log = b"one\ntwo\nthree\n"
    assert augury("logs", "401").out == "one\ntwo\nthree\n"
    assert augury("logs", "-n", "2", "401").out == "two\nthree\n"
    server.runs[401] |= {"ended_at": None, "state": "running"}
    assert augury("logs", "401").out == "one\ntwo\nthree\n"


def test_output_is_followed_to_its_end(augury: Augury, server: FakeServer) -> None:
    server.runs[401] |= {"ended_at": None, "state": "running"}
    ends(server, state="complete", exit_code=0)
    assert augury("logs", "-f", "401").out == "hello\n"


def test_control_sequences_are_printed_only_raw(
    augury: Augury, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.log = b"\x1b[31mred\x1b[0m\n"
    assert augury("logs", "401").out == "red\n"
    assert augury("logs", "--raw", "401").out == "\x1b[31mred\x1b[0m\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert augury("logs", "401").out == "red\n"
    assert augury("logs", "--raw", "401").out == "\x1b[31mred\x1b[0m\n"


def test_a_run_that_is_piped_hands_its_output_on_as_it_is(augury: Augury, server: FakeServer) -> None:
    server.log = b"\x1b[31m1\r2\n"
    server.on_request = lambda method, path: server.runs[401].update(state="complete", ended_at=END)
    assert augury("run", "--", "train").out.endswith("\x1b[31m1\r2\n")


def test_of_a_progress_bar_logs_print_its_last_state(augury: Augury, server: FakeServer) -> None:
    server.log = b"start\n  0%|    |\r 50%|##  |\r100%|####|\nend"
    assert augury("logs", "401").out == "start\n100%|####|\nend"
    assert '"  0%|    |\\r 50%' in augury("logs", "--json", "401").out


def test_several_runs_are_stopped(augury: Augury, server: FakeServer) -> None:
    said = augury("stop", "401", "402")
    assert (said.code, said.out) == (0, "stopping: 401, 402\n")
    said = augury("kill", "401", "9")
    assert said.code == 1
    assert said.out.splitlines() == ["killing: 401", "no such run: 9"]
    assert augury("stop").code == 2


def test_a_run_named_twice_is_stopped_once(augury: Augury, server: FakeServer) -> None:
    assert augury("stop", "401", "402", "401").out == "stopping: 401, 402\n"
    assert augury("kill", "99999999999999999999", "401", "401").out.splitlines() == [
        "killing: 401",
        "no such run: 99999999999999999999",
    ]


@pytest.mark.parametrize("number", ["0", "-1", "1e20", "x", "", "１.5"])
def test_what_is_no_number_of_a_run_is_named(augury: Augury, number: str) -> None:
    for command in ("info", "logs", "stop", "kill"):
        said = augury(command, "--", number)
        assert said.code == 2
        assert f"'{number}' is not a whole number" in said.err


def test_more_lines_than_there_can_be_are_all_lines(augury: Augury, server: FakeServer) -> None:
    server.log = b"a\nb\n"
    augury("logs", "-n", "99999999999", "401")
    assert server.asked("/runs/401/logs")[0]["tail_lines"] == "1000000"


def test_text_that_is_no_utf_8_is_named(augury: Augury) -> None:
    for words in (("ps", "--label", "\udcff"), ("hyper", "best", "59", "--metric", "\udcff")):
        said = augury(*words)
        assert said.code == 2
        assert "is not valid UTF-8" in said.err


@pytest.mark.parametrize("option", ["--machine-type", "--label"])
def test_an_empty_name_is_refused(augury: Augury, server: FakeServer, option: str) -> None:
    said = augury("run", option, " ", "--", "true")
    assert (said.code, said.err) == (2, f"Error: {option} is empty: name one, or leave the option out\n")
    assert not server.requests


def test_the_status_shows_workers(augury: Augury) -> None:
    out = augury("status").out
    for piece in ("http://fake", "2 running, 3 queued", "k80@box", "2/4", "STATE", "drained (new disk)"):
        assert piece in out
    assert augury("status", "--json").json["workers"][0]["slots"] == 4
    assert augury("status", "-q").out == "k80@box\n"


@dataclass
class Check:
    name: str
    ok: bool
    text: str
    fix: str = ""


def test_up_down_and_doctor(augury: Augury, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[bool] = []
    checks = [Check("python", True, "3.11"), Check("disk space", False, "full", "free some")]
    local = SimpleNamespace(
        up=lambda notify: SimpleNamespace(url="http://local", version="0.1.0", pid=7),
        down=lambda force, notify: notify("2 runs are ended") or forced.append(force) or True,
        doctor=lambda notify: checks,
        asked_in_vain=lambda environment: environment.get("AUGURY_SLOTS"),
    )
    monkeypatch.setattr(lazy, "local", local, raising=False)
    assert "http://local" in augury("up").out
    assert augury("up", "--json").json == {"url": "http://local", "version": "0.1.0", "pid": 7}
    monkeypatch.setenv("AUGURY_SLOTS", "3")
    assert "AUGURY_SLOTS=3 is read at a start: `augury down`, then" in augury("up").err
    assert augury("down").out == "The local instance has ended.\n"
    assert augury("down", "--force", "--json").json == {"ended": True}
    assert forced == [False, True]
    assert augury("down", "--force").err.endswith("Notice: 2 runs are ended\n")
    monkeypatch.delenv("AUGURY_URL")
    monkeypatch.setenv("HOME", "/nowhere")
    said = augury("doctor")
    assert said.code == 1
    assert "FAIL  disk space: full" in said.out
    assert "fix: free some" in said.out
    assert augury("doctor", "-q").out == "disk space\n"
    checks.pop()
    assert augury("doctor").code == 0


def test_with_a_remote_instance_doctor_asks_it_too(
    augury: Augury, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = SimpleNamespace(
        asked_in_vain=lambda environment: None,
        doctor=lambda notify: [],
        up=lambda notify: SimpleNamespace(url="u", version="v", pid=1),
    )
    monkeypatch.setattr(lazy, "local", local, raising=False)
    said = augury("doctor")
    assert (said.code, "workers up: 1" in said.out) == (0, True)
    assert "AUGURY_URL" in augury("up").err

    def away(method: str, path: str) -> None:
        raise UnavailableError("cannot reach http://fake")

    server.on_request = away
    said = augury("doctor")
    assert said.code == 1
    assert "FAIL  remote instance: cannot reach http://fake" in said.out


def test_the_status_says_where_the_number_of_slots_comes_from(
    augury: Augury, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Slots" not in augury("status").out
    monkeypatch.setitem(STATUS, "slots_from", "AUGURY_SLOTS, kept in /h/slots")
    assert "Slots     4 (AUGURY_SLOTS, kept in /h/slots)" in augury("status").out


def test_output_as_json_is_a_string_a_line(augury: Augury, server: FakeServer) -> None:
    server.log = b'say "x"\n\x1b[1m\nend'
    assert augury("logs", "--json", "401").out.splitlines() == ['"say \\"x\\""', '"\\u001b[1m"', '"end"']


def test_a_worker_takes_the_place_of_the_command(augury: Augury, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _program, words, _environment: started.append(words))
    assert augury("worker", "-t", "K80", "--slots", "4", "--name", "big").code == 0
    program = [sys.executable, "-P", "-m", "augury_workers"]
    assert started[0] == [*program, "--machine-type", "K80", "--slots", "4", "--name", "big"]
    assert augury("worker").code == 0
    assert started[1] == program
    assert augury("worker", "-t", "K80", "--idle-timeout", "15").code == 0
    assert started[2][-2:] == ["--idle-timeout", "15"]


def test_a_server_takes_the_place_of_the_command_with_the_settings_of_the_file(
    augury: Augury, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _program, words, variables: started.append((words, variables)))
    (tmp_path / "config.toml").write_text('redis_url = "redis://file/0"\nsecret_file = "/file/secret"\n')
    monkeypatch.setenv("AUGURY_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("AUGURY_SECRET_FILE", "/set/secret")
    monkeypatch.delenv("AUGURY_REDIS_URL", raising=False)
    listen = ("--listen", "0.0.0.0:8800", "--url", "https://augury.lab", "--state-dir", "/srv", "--insecure")
    assert augury("server", *listen).code == 0
    words, variables = started[0]
    assert words == [sys.executable, "-P", "-m", "augury.server", *listen]
    assert variables["AUGURY_REDIS_URL"] == "redis://file/0"
    assert variables["AUGURY_SECRET_FILE"] == "/set/secret"
    assert augury("server").code == 2


def test_a_new_key_file_is_private_and_never_replaces_another(augury: Augury, tmp_path: Path) -> None:
    path = tmp_path / "augury.secret"
    assert augury("secret", "new", str(path)).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(parse_secrets(path.read_text())) == 1
    again = augury("secret", "new", str(path))
    assert again.code == 2
    assert "every worker with that key would be locked out" in again.err
    assert "cannot be written" in augury("secret", "new", str(tmp_path / "no" / "file")).err


def test_a_metric_outside_a_run_is_an_error(augury: Augury, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUGURY_METRICS", raising=False)
    said = augury("metric", "loss", "-0.5")
    assert said.code == 1
    assert "not inside a run" in said.err
    assert augury("metric", "loss").code == 2


def test_a_server_that_is_away_is_one_line(augury: Augury, server: FakeServer) -> None:
    def away(method: str, path: str) -> None:
        raise UnavailableError("cannot reach http://fake")

    server.on_request = away
    said = augury("ps")
    assert (said.code, said.err) == (1, "Error: cannot reach http://fake\n")


def test_a_queued_run_shows_dashes(augury: Augury, server: FakeServer) -> None:
    server.with_runs(run_document(500, search_id=None), complete(501, 1.0))
    assert augury("ps").out.splitlines()[-2].split()[:6] == ["500", "-", "queued", "-", "-", "python"]
