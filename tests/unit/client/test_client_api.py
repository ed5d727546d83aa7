"""The Python API in the old product's words (cases C1 to C6 with local code)."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from client_fake import END, START, FakeServer, complete, point, run_document

import augury
from augury import RangeSpec, RefusedError, Run, Search, UsageError, ValueSpec, WaitError
from augury.client import events


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAUSES", (0.01,))
    monkeypatch.setattr(events, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(events, "GAP_SECONDS", 0.0)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer().with_runs(complete(1, 0.5), complete(2, 0.7))


def test_c1_a_grid_is_created_read_and_written_to_rows(server: FakeServer) -> None:
    server.points = [point(1, index, index * 1.5, "value") for index in range(30)]
    client = server.client()
    search = client.hyper.new_grid_search(
        {"a": ValueSpec([0, 2, 4]), "b": ValueSpec([1.3, 1.7])},
        command="python hyperparameters/basic.py --start :a: --stepsize :b: --steps 30",
    )
    sent = server.submitted
    assert sent["kind"] == "grid"
    assert sent["command"] == {
        "shell": "python hyperparameters/basic.py --start :a: --stepsize :b: --steps 30"
    }
    assert sent["space"] == {"a": {"values": [0, 2, 4]}, "b": {"values": [1.3, 1.7]}}
    run = search.runs[0]
    assert run.wait_status(*client.runs.FINAL) == client.runs.COMPLETE
    run.refresh()
    assert (run.status, run.user_exit_code) == (client.runs.COMPLETE, 0)
    values = [round(point[2], 5) for point in run.metrics("value")]
    assert values == [index * 1.5 for index in range(30)]


def test_c3_a_command_without_code(server: FakeServer) -> None:
    server.client().hyper.new_grid_search(params={"a": [0, 2], "b": [1.3]}, command="echo :a: :b:")
    assert server.submitted["space"]["a"] == {"values": [0, 2]}


def test_c5_a_random_search_has_typed_values(server: FakeServer) -> None:
    client = server.client()
    search = client.hyper.new_random_search(
        params={
            "conv2_filter": RangeSpec(16, 128, scaling=client.hyper.LINEAR, type=client.hyper.INT),
            "dropout_3": RangeSpec(0.2, 0.5),
        },
        num_runs=12,
        command="python cifar10_cnn.py --conv2_filter :conv2_filter: --dropout_3 :dropout_3:",
        machine_type="K80",
        labels=["paper"],
    )
    sent = server.submitted
    assert (sent["num_runs"], sent["machine_type"], sent["labels"]) == (12, "K80", ["paper"])
    assert sent["space"]["conv2_filter"] == {"min": 16, "max": 128, "scaling": "linear", "type": "int"}
    assert search.runs[0].hyper_params == {"rate": 0.1}
    search.refresh()
    search.kill()
    assert search.status == "killed"
    server.points = [point(1, 0, 1.0, "train_loss"), point(2, 0, "NaN", "train_loss")]
    assert search.metric_names() == ["train_loss"]
    metrics = search.metrics("train_loss")
    assert list(metrics[1]) == [(datetime(2026, 11, 23, 10, tzinfo=UTC), 0, 1.0)]
    assert [repr(value) for _, _, value in metrics[2]] == ["nan"]


def test_a_bayesian_search_names_its_metric(server: FakeServer) -> None:
    client = server.client()
    client.hyper.new_bayesian_search(
        {"rate": RangeSpec(0.001, 1.0, client.hyper.LOG)},
        12,
        3,
        "val_acc",
        "last",
        "train :rate:",
        goal="minimize",
    )
    sent = server.submitted
    assert (sent["num_runs"], sent["parallel_runs"]) == (12, 3)
    assert (sent["metric"], sent["metric_agg"], sent["goal"]) == ("val_acc", "last", "minimize")


@pytest.mark.parametrize(
    ("params", "keywords", "piece"),
    [
        ({"a": [1]}, {"github_url": "x"}, "github_url"),
        ({"a": [1]}, {"machine": "x"}, "machine"),
        ({"a": [1]}, {"goal": "best"}, "maximize, minimize"),
        ({"a": "1,2"}, {}, "'a'"),
        ({"a": [None]}, {}, "None"),
        ({"a": RangeSpec(1, 2)}, {}, "a"),
        ({"a b": [1]}, {}, "a b"),
        ({"a": ["x" * 200_000]}, {}, "into a file"),
        ({}, {}, "parameter"),
        ({"a": [1], "b": [2]}, {}, "b"),
        ({"a": list(range(101)), "b": list(range(101))}, {"command": "echo :a: :b:"}, "10,201"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(
    server: FakeServer, params: Any, keywords: dict[str, Any], piece: str
) -> None:
    with pytest.raises(UsageError, match=piece):
        server.client().hyper.new_grid_search(params, **{"command": "echo :a:", **keywords})
    assert server.requests == []


def test_c6_a_run_its_log_and_its_end(server: FakeServer) -> None:
    client = server.client()
    run = client.runs.new(command="echo Hello World!", envvars={"A": "1"}, description="first")
    assert server.submitted["kind"] == "run"
    assert server.submitted["env"] == {"A": "1"}
    assert run.status == client.runs.QUEUED
    server.runs[401] |= {"state": "complete", "exit_code": 0, "started_at": START, "ended_at": END}
    server.log = b"Hello World Again!\nno newline"
    run.refresh()
    entries = list(run.logs())
    assert [entry.status for entry in entries if entry.status_event] == ["queued", "running", "complete"]
    assert [str(entry) for entry in entries if not entry.status_event] == ["Hello World Again!", "no newline"]
    assert run.description == "first"
    assert (run.ended_at - run.started_at).total_seconds() == 5.5  # type: ignore[operator]


def test_a_run_takes_the_values_of_its_placeholders(server: FakeServer) -> None:
    server.client().runs.new(command="echo :rate:", params={"rate": 0.1})
    assert server.submitted["space"] == {"rate": {"values": [0.1]}}


def test_waiting_for_a_state_that_cannot_come_any_more(server: FakeServer) -> None:
    with pytest.raises(WaitError, match="ended as complete, not as running"):
        server.client().runs.get(1).wait_status("running")


def test_waiting_gives_up_in_time(server: FakeServer) -> None:
    server.with_runs(run_document(3, state="running"))
    with pytest.raises(TimeoutError, match="still running"):
        server.client().runs.get(3).wait_status("complete", timeout=0.05)
    with pytest.raises(TimeoutError, match="still running"):
        server.client().hyper.get(59).wait(timeout=0.05)


def test_waiting_for_a_metric(server: FakeServer) -> None:
    server.points = [point(1, index, index / 10) for index in range(10)]
    client = server.client()
    found = client.runs.get(1).wait_metric("val_acc", client.runs.GREATER_THAN_EQUALS, 0.5)
    assert found[1:] == (5, 0.5)
    with pytest.raises(WaitError, match="never had val_acc gt 5"):
        client.runs.get(1).wait_metric("val_acc", client.runs.GREATER_THAN, 5)
    with pytest.raises(UsageError, match="eq, gt, gte, lt, lte"):
        client.runs.get(1).wait_metric("val_acc", ">", 5)


def test_following_a_metric_gives_each_point_once(server: FakeServer) -> None:
    server.page = 2
    server.with_runs(run_document(3, state="running"))
    questions = 0

    def one_more_point(method: str, path: str) -> None:
        nonlocal questions
        if path != "/runs/3":
            return
        questions += 1
        if questions <= 7:
            server.points.append(point(3, questions - 1, float(questions)))
        else:
            server.runs[3] = complete(3)

    server.on_request = one_more_point
    client = server.client()
    indices = [index for _, index, _ in client.runs.get(3).metrics("val_acc", follow=True)]
    assert indices == list(range(7))
    assert [index for _, index, _ in client.runs.get(3).metrics("val_acc", start=4)] == [5, 6]


def test_following_a_log_ends_with_the_run(server: FakeServer) -> None:
    server.with_runs(run_document(3, state="running", started_at=START))

    def one_more_line(method: str, path: str) -> None:
        if path == "/runs/3/logs":
            server.log += b"line\n"
        if len(server.log) > 20:
            server.runs[3] = complete(3)

    server.on_request = one_more_line
    entries = list(server.client().runs.get(3).logs(follow=True))
    lines = [entry.log for entry in entries if not entry.status_event]
    assert lines == ["line"] * (len(server.log) // 5)
    assert entries[-1].status == "complete"


def test_a_search_is_waited_for_and_its_best_run_read(server: FakeServer) -> None:
    server.search |= {"best": server.runs[2]}

    def end(method: str, path: str) -> None:
        if len(server.requests) > 3:
            server.search["state"] = "finished"

    server.on_request = end
    search = server.client().hyper.get(59)
    assert search.wait(timeout=10) is search
    best = search.best()
    assert isinstance(best, Run)
    assert (best.id, best.objective) == (2, 0.7)
    assert isinstance(server.client().hyper.list()[0], Search)


def test_a_paused_search_does_not_end_by_itself(server: FakeServer) -> None:
    server.search |= {"state": "paused", "pause_reason": "no run has val_acc", "counts": {"queued": 3}}
    with pytest.raises(WaitError, match="no run has val_acc"):
        server.client().hyper.get(59).wait()


def test_a_paused_search_goes_on(server: FakeServer) -> None:
    search = server.client().hyper.get(59)
    with pytest.raises(RefusedError, match="not paused"):
        search.resume()
    server.search["state"] = "paused"
    search.resume()
    assert search.status == "running"


def test_rows_are_flat_and_names_do_not_collide(server: FakeServer) -> None:
    server.runs[1] = complete(1, 0.5, params={"rate": 0.1, "state": "x"})
    rows = server.client().hyper.get(59).to_rows()
    assert rows[0]["rate"] == 0.1
    assert rows[0]["param.state"] == "x"
    assert (rows[0]["run_id"], rows[0]["state"], rows[0]["objective"]) == (1, "complete", 0.5)
    assert list(rows[1]) == [
        "run_id",
        "state",
        "rate",
        "objective",
        "exit_code",
        "cause",
        "started_at",
        "ended_at",
    ]


def test_all_runs_are_read_when_the_answer_held_only_some(server: FakeServer) -> None:
    server.with_runs(*[complete(number) for number in range(1, 8)])
    server.included, server.page = 3, 2
    search = server.client().hyper.new_grid_search({"a": [1]}, "echo :a:")
    assert [run.id for run in search.runs] == list(range(1, 8))


def test_the_environment_goes_to_the_local_instance_only(server: FakeServer) -> None:
    server.client().runs.new(command="true")
    assert server.submitted["environment"] is None


def test_code_goes_to_a_remote_instance_unless_it_shall_not(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("print()")
    monkeypatch.chdir(tmp_path)
    client = server.client()
    for _ in range(2):
        client.runs.new(command="true")
        assert server.submitted["snapshot"] in server.snapshots
        assert server.submitted["cwd"] == ""
        server.requests.clear()
    assert len(server.snapshots) == 1
    client.hyper.new_grid_search({"a": [1]}, "true :a:", snapshot=False)
    assert server.submitted["snapshot"] is None
    assert server.submitted["cwd"] == str(tmp_path)


def test_importing_augury_imports_no_http() -> None:
    code = "import sys, augury; augury.RangeSpec; print('httpx' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_every_public_name_exists() -> None:
    assert all(getattr(augury, name) is not None for name in augury.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        augury.nonsense  # noqa: B018


def test_httpx_comes_without_its_command_line() -> None:
    code = "import sys, augury.client._httpx as h; print('rich' in sys.modules, h.httpx.Client.__name__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "Client"]
