"""`augury hyper grid | random | bayesian`: what is asked for, what is refused, what is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_fake import FakeServer, run_document

from augury.cli import reserved
from augury.client.connection import Address

Augury = Callable[..., Any]
WORDS = ("--", "python", "train.py", "--rate", ":rate:")


def test_a_grid_is_cast_and_shown(augury: Augury, server: FakeServer) -> None:
    said = augury("hyper", "grid", "-t", "K80", "--param", "rate=0.1,1", *WORDS)
    assert said.code == 0
    assert said.out.splitlines() == [
        "💫 Casting hyperparameter search #59…",
        "rate  Run ID",
        "0.1   401",
        "0.1   402",
        "Follow it: augury hyper watch 59    Its runs: augury hyper describe 59",
    ]
    sent = server.submitted
    assert sent["kind"] == "grid"
    assert sent["machine_type"] == "K80"
    assert sent["command"] == {"argv": ["python", "train.py", "--rate", ":rate:"]}
    assert sent["space"] == {"rate": {"values": [0.1, 1]}}
    assert sent["cwd"] == ""
    assert list(server.snapshots) == [sent["snapshot"]]


def test_the_best_run_is_offered_only_where_a_metric_is_named(augury: Augury, server: FakeServer) -> None:
    last = augury("hyper", "grid", "--metric", "acc", "--param", "rate=0.1,1", *WORDS).out.splitlines()[-1]
    assert last == "Follow it: augury hyper watch 59    Best so far: augury hyper best 59"


def test_the_manual_line_without_dashes_is_understood(augury: Augury, server: FakeServer) -> None:
    line = (
        "hyper bayesian --num-runs 12 --parallel-runs 3 --metric keras/val_acc --metric-agg avg "
        "--param rate=.001:1.0 --param layers=2:100:int "
        "python train.py --learning_rate :rate: --num_layers :layers:"
    )
    assert augury(*line.split()).code == 0
    sent = server.submitted
    assert sent["command"]["argv"][-2:] == ["--num_layers", ":layers:"]
    assert (sent["num_runs"], sent["parallel_runs"], sent["metric_agg"]) == (12, 3, "avg")
    assert list(sent["space"]) == ["rate", "layers"]


def test_options_may_follow_a_quoted_command(augury: Augury, server: FakeServer) -> None:
    assert augury("hyper", "grid", "python t.py :a: > log", "--param", "a=1,2", "-t", "V100").code == 0
    assert server.submitted["command"] == {"shell": "python t.py :a: > log"}
    assert server.submitted["machine_type"] == "V100"


def test_an_option_swallowed_by_the_command_is_noticed(augury: Augury) -> None:
    said = augury("hyper", "grid", "--param", "a=1,2", "./setup.sh", "-t", ":a:")
    assert said.code == 0
    assert "'-t'" in said.err


def test_all_options_arrive(augury: Augury, server: FakeServer) -> None:
    said = augury(
        *("hyper", "random", "-n", "5", "-r", "2", "--seed", "3", "--max-runs", "9", "--lost-after", "60"),
        *(
            "--metric",
            "val_acc",
            "-a",
            "MAX",
            "--goal",
            "minimize",
            "-e",
            "A=b=c",
            "--metric-regex",
            "loss=loss: ([0-9.]+)",
        ),
        *(
            "--label",
            "x",
            "--label",
            "y",
            "-d",
            "why",
            "--param",
            "rate=.001:1:log",
            "--choice",
            "at=12:30,1:00",
        ),
        *("--timeout", "1.5", "--grace", "2.5", "--retries", "0"),
        *("--json-param", "n=[1, 2.5]", "--", "t", ":rate:", ":at:", ":n:"),
    )
    assert said.code == 0, said.err
    sent = server.submitted
    expected = {
        "num_runs": 5,
        "parallel_runs": 2,
        "seed": 3,
        "max_runs": 9,
        "lost_after": 60,
        "retries": 0,
        "timeout": 90,
        "grace": 2.5,
        "metric": "val_acc",
        "metric_agg": "max",
        "goal": "minimize",
        "env": {"A": "b=c"},
        "metric_regex": [["loss", "loss: ([0-9.]+)"]],
        "labels": ["x", "y"],
        "description": "why",
    }
    assert {key: sent[key] for key in expected} == expected
    assert list(sent["space"]) == ["rate", "n", "at"]
    assert "Drawn with --seed 7" in said.out


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (("bayesian", "--param", "a=1:2", "--", "t", ":a:"), ["--num-runs", "--parallel-runs", "--metric"]),
        (("random", "--param", "a=1:2", "--", "t", ":a:"), ["--num-runs"]),
        (("grid", "--", "t", ":a:"), ["--param"]),
        (("grid", "--param", "a=1,2"), ["missing the command"]),
        (("grid", "--param", "a=1,,2", "--", "t", ":a:"), ["a=1,,2", "empty"]),
        (("grid", "--param", "rate=1,2", "--", "t", ":rat:"), [":rat:", ":rate:"]),
        (("random", "-n", "0", "--param", "a=1:2", "--", "t", ":a:"), ["--num-runs", "at least 1"]),
        (("grid", "--lost-after", "5", "--param", "a=1,2", "--", "t", ":a:"), ["--lost-after", "at least 6"]),
        (("random", "-n", "x", "--param", "a=1:2", "--", "t", ":a:"), ["--num-runs", "whole number"]),
        (("grid", "-a", "sum", "--param", "a=1,2", "--", "t", ":a:"), ["sum", "avg, min, max, last"]),
        (("grid", "--env", "=x", "--param", "a=1,2", "--", "t", ":a:"), ["--env"]),
        (("grid", "--metric-regex", "x=(", "--param", "a=1,2", "--", "t", ":a:"), ["--metric-regex"]),
        (("grid", "--param", "a=1,2", "t :a:", "more"), ["more"]),
        (("grid", "--json", "--quiet", "--param", "a=1,2", "--", "t", ":a:"), ["--json", "--quiet"]),
        (("grid", "--json", "--watch", "--param", "a=1,2", "--", "t", ":a:"), ["--watch"]),
        (("grid", "--nonsense", "--param", "a=1,2", "--", "t", ":a:"), ["--nonsense"]),
        (("grid", "-n", "4", "--param", "a=1,2", "--", "t", ":a:"), ["-n", "every combination"]),
        (("grid", "-b", "--param", "a=1,2", "--", "t", ":a:"), ["-b", "--watch"]),
    ],
)
def test_what_is_wrong_is_named_and_nothing_starts(
    augury: Augury, server: FakeServer, words: tuple[str, ...], pieces: list[str]
) -> None:
    said = augury("hyper", *words)
    assert said.code == 2
    assert said.out == ""
    assert all(piece in said.err for piece in pieces), said.err
    assert server.requests == []


def test_too_large_a_grid_is_refused_with_the_option_that_raises_the_limit(
    augury: Augury, server: FakeServer
) -> None:
    params = [word for name in "abcdef" for word in ("--param", f"{name}={','.join(map(str, range(100)))}")]
    said = augury("hyper", "grid", *params, "--", "t", *(f":{name}:" for name in "abcdef"))
    assert said.code == 2
    assert "1,000,000,000,000" in said.err
    assert "--max-runs" in said.err
    assert server.requests == []


@pytest.mark.parametrize("option", reserved.names())
@pytest.mark.parametrize("kind", ["grid", "run"])
def test_every_option_of_the_old_product_is_recognised(
    augury: Augury, server: FakeServer, option: str, kind: str
) -> None:
    words = ("run", option, "5") if kind == "run" else ("hyper", kind, option, "5", "--param", "a=1,2")
    said = augury(*words, "--", "t", ":a:")
    assert said.code == 2
    assert f"{option} is not built yet" in said.err
    assert len(said.err.splitlines()) == 1
    assert server.requests == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--timeout", "0"), "--timeout is 0: give minutes above 0"),
        (("--timeout", "-1"), "--timeout is -1: give minutes above 0"),
        (("--grace", "-1"), "--grace is -1: give 0 to 86400 seconds"),
    ],
)
def test_a_limit_that_cannot_be_is_named(
    augury: Augury, server: FakeServer, words: tuple[str, ...], sentence: str
) -> None:
    said = augury("run", *words, "--", "true")
    assert (said.code, server.requests) == (2, [])
    assert sentence in said.err


@pytest.mark.parametrize("word", ["--stop-condition=5", "-muploads/x"])
def test_reserved_options_are_recognised_with_an_attached_value(augury: Augury, word: str) -> None:
    said = augury("hyper", "grid", word, "--param", "a=1,2", "--", "t", ":a:")
    assert (said.code, "not built yet" in said.err) == (2, True)


@pytest.mark.parametrize("words", [("-p", "rate=1:2"), ("-prate=1:2",)])
def test_the_old_short_form_of_param_is_explained(augury: Augury, words: tuple[str, ...]) -> None:
    said = augury("hyper", "random", "-n", "3", *words, "--", "t", ":rate:")
    assert said.code == 2
    assert "--param rate=1:2" in said.err


def test_no_reserved_option_is_in_use(augury: Augury) -> None:
    for command in ("grid", "random", "bayesian"):
        text = augury("hyper", command, "--help").out
        used = {word.strip(",") for word in text.split() if word.startswith("-")}
        assert not used & set(reserved.names())


def test_a_dry_run_shows_the_runs_and_creates_nothing(augury: Augury, server: FakeServer) -> None:
    said = augury("hyper", "grid", "--dry-run", "--param", "rate=0.1,1", *WORDS)
    assert said.code == 0
    assert "nothing is created" in said.out
    assert "watch" not in said.out
    assert server.requests[-1][3]["dry_run"] is True
    assert augury("hyper", "grid", "--dry-run", "-q", "--param", "rate=0.1,1", *WORDS).out == ""


def test_a_large_search_shows_its_first_runs(augury: Augury, server: FakeServer) -> None:
    server.with_runs(*[run_document(number) for number in range(1, 10_001)])
    said = augury("hyper", "grid", "--param", "rate=0.1,1", *WORDS)
    lines = said.out.splitlines()
    assert len([line for line in lines if line.startswith("0.1 ")]) == 20
    assert "… and 9,980 more" in lines


def test_json_is_the_contract_and_nothing_else(augury: Augury, server: FakeServer) -> None:
    server.included, server.page = 1, 1
    said = augury("hyper", "grid", "--json", "--param", "rate=0.1,1", *WORDS)
    assert list(said.json) == [
        *("id", "kind", "state", "command", "machine_type", "metric", "metric_agg", "goal", "num_runs"),
        *("parallel_runs", "seed", "space", "owner", "labels", "created_at", "ended_at", "counts"),
        *("notices", "pause_reason", "runs", "best"),
    ]
    assert [run["id"] for run in said.json["runs"]] == [401, 402]
    assert list(said.json["runs"][0]) == [
        *("id", "search_id", "state", "params", "command", "objective", "exit_code", "cause", "attempts"),
        *("worker", "queued_at", "started_at", "ended_at"),
    ]


def test_quiet_prints_the_id(augury: Augury) -> None:
    assert augury("hyper", "grid", "-q", "--param", "rate=0.1,1", *WORDS).out == "59\n"


def test_notices_go_to_stderr_once(augury: Augury, server: FakeServer) -> None:
    server.notices = ["K80 is served by the local worker"]
    said = augury("hyper", "grid", "--json", "--metric", "val_loss", "--param", "rate=0.1,1", *WORDS)
    assert said.json["id"] == 59
    assert said.err.count("K80 is served") == 1
    assert "--goal minimize" in said.err


def test_a_goal_that_was_given_is_not_doubted(augury: Augury) -> None:
    words = ("hyper", "grid", "--metric", "val_loss", "--goal", "maximize", "--param", "rate=0.1,1", *WORDS)
    assert augury(*words).err == ""


def test_control_characters_in_values_do_not_reach_the_terminal(augury: Augury, server: FakeServer) -> None:
    server.with_runs(run_document(403, params={"rate": "\x1b[31mred\n"}))
    out = augury("hyper", "grid", "--param", "rate=0.1,1", *WORDS).out
    assert "\\x1b[31mred\\n" in out
    assert "\x1b" not in out


def test_the_shell_and_its_folder_are_sent_to_the_local_instance(
    augury: Augury, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    augury("run", "-b", "true")
    assert server.submitted["environment"] is None
    server.requests.clear()
    monkeypatch.delenv("AUGURY_URL")
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("MY_VARIABLE", "mine")
    augury("run", "-b", "true")
    assert server.submitted["environment"]["MY_VARIABLE"] == "mine"


def test_a_folder_that_was_deleted_is_named(
    augury: Augury, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    said = augury("run", "--", "true")
    assert said.code == 2
    assert said.err == "Error: the current directory no longer exists: change to one that does\n"
    assert augury("hyper", "list").code == 0
    assert augury("hyper", "download-metrics", "59").code == 2
    assert augury("hyper", "grid", "--from-file", "x.json").code == 2


def test_code_travels_to_a_remote_instance(augury: Augury, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print()")
    (tmp_path / "away").symlink_to("/etc/hosts")
    said = augury("run", "-b", "true")
    assert said.code == 0
    assert "Notice: the snapshot leaves out a link that leads to no file inside it: away" in said.err
    assert server.submitted["snapshot"] in server.snapshots
    server.requests.clear()
    augury("run", "-b", "--no-snapshot", "true")
    assert server.submitted["snapshot"] is None
    assert server.submitted["cwd"] == str(tmp_path)


def test_a_dry_run_sends_no_code(augury: Augury, server: FakeServer) -> None:
    assert augury("hyper", "grid", "--dry-run", "--param", "rate=1", *WORDS).code == 0
    assert server.snapshots == {}


def test_the_local_instance_gets_a_snapshot_when_asked(
    augury: Augury, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Address("http://fake", "secret", local=True)
    monkeypatch.setattr("augury.client.routes.Routes.address", local)
    augury("run", "-b", "true")
    assert server.submitted["snapshot"] is None
    server.requests.clear()
    augury("run", "-b", "--snapshot", "true")
    assert server.submitted["snapshot"] in server.snapshots


def test_too_much_code_is_refused_before_anything_is_created(
    augury: Augury, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augury.client.snapshot.MAX_SNAPSHOT_BYTES", 10)
    (tmp_path / "model.ckpt").write_bytes(b"x" * 11)
    said = augury("run", "-b", "true")
    assert said.code == 2
    assert "Largest: model.ckpt" in said.err
    assert server.requests == []
