"""`augury hyper list | describe | watch | wait | best | stop | kill`."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from client_fake import END, START, FakeServer, complete, point, run_document

from augury.cli import watching
from augury.cli.options import OneJudgedSearch
from augury.cli.watching import Board

Augury = Callable[..., Any]


def finished(server: FakeServer, state: str = "finished") -> FakeServer:
    server.search |= {"state": state, "best": server.runs[402]}
    return server


def test_searches_are_listed(augury: Augury, server: FakeServer) -> None:
    finished(server)
    lines = augury("hyper", "list").out.splitlines()
    assert lines[0].split() == ["ID", "TYPE", "STATE", "RUNS", "BEST", "CREATED", "OWNER", "COMMAND"]
    assert lines[1].split()[:5] == ["59", "grid", "finished", "2", "0.7"]
    listed = augury("hyper", "list", "--json", "-n", "3", "--label", "x", "--all").json
    assert (listed[0]["id"], listed[0]["best"]["id"], "runs" in listed[0]) == (59, 402, False)
    assert server.asked("/searches")[-1] == {"limit": "3", "label": "x", "all": "true"}
    assert augury("hyper", "list", "--quiet").out == "59\n"


def test_a_search_is_described(augury: Augury, server: FakeServer) -> None:
    finished(server)
    out = augury("hyper", "describe", "59").out
    for piece in (
        "Search #59",
        "last of val_acc, maximize",
        "0.7 by run 402",
        "2 complete",
        "rate = 0.1",
        "5.5s",
    ):
        assert piece in out
    described = augury("hyper", "describe", "59", "--json").json
    assert [run["id"] for run in described["runs"]] == [401, 402]
    assert augury("hyper", "describe", "59", "-q").out == "401\n402\n"


def test_a_failed_run_shows_its_exit_code_and_a_nan_no_objective(augury: Augury, server: FakeServer) -> None:
    server.with_runs(complete(403, None, state="failed", exit_code=66))
    assert "failed (66)" in augury("hyper", "describe", "59").out
    assert augury("hyper", "describe", "59", "--json").json["runs"][2]["objective"] is None


def test_runs_can_be_judged_by_another_metric_afterwards(augury: Augury, server: FakeServer) -> None:
    server.points = [point(401, 0, 5.0, "loss"), point(401, 1, 3.0, "loss"), point(402, 0, "NaN", "loss")]
    words = ("--metric", "loss", "--metric-agg", "min", "--goal", "minimize", "--json")
    runs = augury("hyper", "describe", "59", *words).json["runs"]
    assert [run["objective"] for run in runs] == [3.0, None]
    assert server.asked("/searches/59/best")[-1] == {
        "metric": "loss",
        "metric_agg": "min",
        "goal": "minimize",
    }


def test_another_metric_does_not_inherit_the_goal(augury: Augury, server: FakeServer) -> None:
    server.search |= {"goal": "minimize", "metric": "val_loss"}
    augury("hyper", "best", "59", "--metric", "val_acc")
    assert server.asked("/searches/59/best")[-1]["goal"] == "maximize"


def test_the_best_run_is_shown_in_full_with_its_command(augury: Augury, server: FakeServer) -> None:
    rate = 0.47596198145023644
    server.runs[402] |= {"params": {"rate": rate}, "command": f"python t.py {rate}\n  --deep"}
    finished(server)
    out = augury("hyper", "best", "59").out
    assert f"rate       {rate}" in out
    assert "objective  0.7" in out
    assert out.endswith(f"\npython t.py {rate}\n  --deep\n")
    assert augury("hyper", "best", "59", "--json").json["id"] == 402
    assert augury("hyper", "best", "59", "-q").out == "402\n"


def test_a_maximised_loss_is_doubted(augury: Augury, server: FakeServer) -> None:
    finished(server).search["metric"] = "val_loss"
    assert "--goal minimize" in augury("hyper", "best", "59").err
    assert augury("hyper", "best", "59", "--goal", "minimize").err == ""


def test_without_a_best_run_it_says_what_was_reported(augury: Augury, server: FakeServer) -> None:
    server.points = [point(401, 0, 1.0, "acc")]
    said = augury("hyper", "best", "59", "--json")
    assert (said.code, said.json) == (1, None)
    assert "reported: acc" in said.err
    server.search["metric"] = None
    said = augury("hyper", "best", "59")
    assert said.code == 2
    assert "--metric" in said.err
    assert "acc" in said.err


@pytest.mark.parametrize(
    ("state", "counts", "code"),
    [
        ("finished", {"complete": 2}, 0),
        ("finished", {"complete": 2, "failed": 0}, 0),
        ("finished", {"complete": 1, "failed": 1}, 3),
        ("finished", {"complete": 1, "killed": 1}, 3),
        ("stopped", {"complete": 2}, 1),
        ("killed", {"killed": 2}, 1),
        ("paused", {"complete": 1, "queued": 1}, 1),
    ],
)
def test_the_exit_code_of_wait_and_watch(
    augury: Augury, server: FakeServer, state: str, counts: dict[str, int], code: int
) -> None:
    server.search |= {"state": state, "counts": counts}
    assert augury("hyper", "wait", "59").code == code
    assert augury("hyper", "watch", "59").code == code
    said = augury("hyper", "wait", "59", "--json")
    assert (said.code, said.json["state"]) == (code, state)


@pytest.mark.parametrize(("state", "counts"), [("running", {"running": 1}), ("paused", {"running": 1})])
def test_wait_gives_up_in_time(
    augury: Augury, server: FakeServer, state: str, counts: dict[str, int]
) -> None:
    server.search |= {"state": state, "counts": counts}
    assert augury("hyper", "wait", "59", "--timeout", "0.05").code == 124


def test_wait_ends_with_the_search(augury: Augury, server: FakeServer) -> None:
    def end(method: str, path: str) -> None:
        if len(server.requests) > 3:
            finished(server)

    server.on_request = end
    said = augury("hyper", "wait", "59")
    assert said.code == 0
    assert said.out.splitlines() == [
        "Search #59 is finished: 2 complete",
        "Best: 0.7 by run 402    augury hyper best 59",
    ]


def test_stop_and_kill_say_what_they_did(augury: Augury, server: FakeServer) -> None:
    said = augury("hyper", "stop", "59")
    assert said.out.splitlines() == [
        "Search #59 is stopped.",
        "stopping: 1",
        "killing: 2, 3",
        "already ended: 4",
    ]
    assert "killing: 1, 2, 3" in augury("hyper", "kill", "59").out
    expected = {"id": 59, "state": "killed", "stopped": [], "killed": [1, 2, 3], "final": [4]}
    assert augury("hyper", "kill", "59", "--json").json == expected
    assert augury("hyper", "stop", "59", "-q").out == "1\n2\n3\n"


def test_a_paused_search_goes_on(augury: Augury, server: FakeServer) -> None:
    server.search["state"] = "paused"
    assert augury("hyper", "resume", "59").out == "Search #59 goes on.\n"
    said = augury("hyper", "resume", "59")
    assert (said.code, said.err) == (1, "Error: search 59 is not paused\n")
    server.search["state"] = "paused"
    assert augury("hyper", "resume", "59", "--json").json == {"id": 59, "state": "running"}


def test_a_run_without_its_metric_says_so(augury: Augury, server: FakeServer) -> None:
    server.runs[401] |= {"objective": None, "cause": "no_metric"}
    server.runs[402] |= {"objective": None, "cause": "diverged"}
    server.runs[403] = complete(403, state="failed", exit_code=137, cause="oom")
    server.runs[404] = complete(404, state="failed", exit_code=None, cause="could_not_start")
    server.runs[405] = complete(405, state="stopped", exit_code=None, cause="stopped")
    server.search["state"] = "finished"
    for words in (("hyper", "describe", "59"), ("ps",), ("hyper", "watch", "59")):
        out = augury(*words).out
        for state in (
            "complete (no metric)", "complete (diverged)", "failed (137, oom)", "failed (could not start)"
        ):  # fmt: skip
            assert state in out, words
        assert "stopped (" not in out
    assert "Status        complete (no metric)" in augury("info", "401").out


def test_a_run_that_was_asked_to_stop_and_goes_on_is_stopping(augury: Augury, server: FakeServer) -> None:
    server.runs[401] |= {"state": "running", "want": "stop", "ended_at": None, "exit_code": None}
    server.search["want"] = "stop"
    for words in (("ps",), ("info", "401"), ("hyper", "describe", "59"), ("hyper", "list")):
        assert "stopping" in augury(*words).out, words
    run = augury("ps", "--json").json[0]
    assert run["state"] == "running"
    assert "want" not in run


@pytest.mark.parametrize(
    ("state", "counts", "told"),
    [
        (
            *("finished", {"complete": 2}),
            "no complete run of search 59 has a value of metric 'scor' (reported: score); "
            "did you mean 'score'?",
        ),
        ("stopped", {"stopped": 2}, "search 59 was stopped before a run was complete: it has no best run"),
        ("running", {"running": 2}, "no run of search 59 is complete yet: see `augury hyper watch 59`"),
        ("finished", {"failed": 2}, "no run of search 59 is complete: see `augury hyper describe 59`"),
    ],
)
def test_why_there_is_no_best_run_is_told(
    augury: Augury, server: FakeServer, state: str, counts: dict[str, int], told: str
) -> None:
    server.search |= {"state": state, "counts": counts, "best": None}
    server.points = [point(401, 0, 1.0, "score")]
    for run in server.runs.values():
        run["objective"] = None
    said = augury("hyper", "best", "59", "--metric", "scor")
    assert (said.code, said.out, said.err) == (1, "", f"Error: {told}\n")


def test_names_of_metrics_cannot_move_the_cursor(augury: Augury, server: FakeServer) -> None:
    server.search |= {"best": None, "metric": None}
    names = ["\x1b[31mred", "a\nb", "x" * 1000, *(f"m{number}" for number in range(20))]
    server.points = [point(401, 0, 1.0, name) for name in names]
    for words in (("best", "59"), ("best", "59", "--metric", "other")):
        said = augury("hyper", *words)
        assert said.code in (1, 2)
        assert "\x1b" not in said.err
        assert "\\x1b[31mred" in said.err
        assert "and 13 more" in said.err
        assert len(said.err) < 400
    assert "\x1b" not in augury("info", "401").out


def test_an_empty_metric_is_named(augury: Augury, server: FakeServer) -> None:
    for words in (("best", "59", "--metric", ""), ("grid", "--param", "x=1", "--metric", " ", "t :x:")):
        said = augury("hyper", *words)
        assert (said.code, said.err) == (2, "Error: --metric is empty: name one, or leave the option out\n")


def test_an_unknown_search_is_an_error_without_a_traceback(augury: Augury) -> None:
    for command in ("describe", "watch", "wait", "best", "stop", "kill"):
        said = augury("hyper", command, "60")
        assert said.code == 1, command
        assert said.err == "Error: there is no search 60: see `augury hyper list`\n"
    for number in ("0", "-1", "x", "1e20"):
        assert augury("hyper", "describe", "--", number).code == 2


def landing(server: FakeServer) -> FakeServer:
    """Let one more run start or land with each reading, then finish."""
    server.with_runs(run_document(403), run_document(404))
    server.runs[401] |= {"state": "running", "started_at": START, "ended_at": None, "objective": None}
    server.search["best"] = None
    steps = [complete(401, 0.5), run_document(403, state="running", started_at=START), complete(403, 0.9)]
    steps.append(complete(404, None, state="failed", exit_code=2))

    def step(method: str, path: str) -> None:
        if path == "/searches/59":
            if len(server.asked(path)) > 1 and steps:
                server.with_runs(steps.pop(0))
            elif not steps:
                finished(server)

    server.on_request = step
    return server


def test_watching_without_a_terminal_tells_each_change(augury: Augury, server: FakeServer) -> None:
    landing(server)
    said = augury("hyper", "watch", "59")
    assert said.code == 3
    told = said.out.splitlines()
    lines = [line.split("  [")[0] for line in told[:6]]
    assert lines == [
        "run 401 running",
        "run 402 complete after 5.5s, 0.7 (best so far)",
        "run 401 complete after 5.5s, 0.5",
        "run 403 running",
        "run 403 complete after 5.5s, 0.9 (best so far)",
        "run 404 failed (2) after 5.5s",
    ]
    assert told[5].endswith("[4/4: 3 complete, 1 failed]")
    assert told[6:] == [
        "Search #59 is finished: 3 complete, 1 failed",
        "Best: 0.9 by run 403    augury hyper best 59",
        "First failure: augury logs 404",
    ]


def test_watching_says_once_that_the_server_does_not_answer_and_goes_on(
    augury: Augury, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    failures = [httpx.ConnectError("refused")] * 3

    def tell(text: str) -> None:
        print(text, file=sys.stderr)
        told.set()

    def fall_silent(method: str, path: str) -> None:
        if path == "/searches/59" and len(server.asked(path)) > 1:
            if failures:
                told.wait(10)
                raise failures.pop()
            finished(server)

    monkeypatch.setattr(watching, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(watching, "progress", tell)
    server.on_request = fall_silent
    said = augury("hyper", "watch", "59")
    assert (said.code, failures) == (0, [])
    assert "the server at http://fake does not answer; trying on\n" in said.err
    assert said.out.endswith("augury hyper best 59\n")


def test_a_run_that_follows_on_the_same_slot_is_told_after_the_end_of_the_one_before(
    augury: Augury, server: FakeServer
) -> None:
    later = END.replace(":05.5", ":05.6")
    server.runs.clear()
    server.with_runs(run_document(2, state="running", started_at=later), complete(3, 0.5, ended_at=later))
    server.with_runs(complete(1, 0.7), run_document(4, state="saving", started_at=START))
    board = Board(server.client(), 59, OneJudgedSearch(search=59))
    assert [run["id"] for run in board.refresh()] == [1, 3, 2, 4]


def test_a_search_whose_runs_wait_for_a_worker_says_so(augury: Augury, server: FakeServer) -> None:
    server.search["waiting"] = "no worker of type K80 is up now: the runs wait"
    assert (
        "  Waiting       no worker of type K80 is up now: the runs wait\n"
        in augury("hyper", "describe", "59").out
    )
    landing(server)
    assert augury("hyper", "watch", "59").err == "no worker of type K80 is up now: the runs wait\n"


def test_watching_as_json_prints_one_run_a_line(augury: Augury, server: FakeServer) -> None:
    landing(server)
    runs = [json.loads(line) for line in augury("hyper", "watch", "59", "--json").out.splitlines()]
    assert [run["state"] for run in runs].count("complete") == 3
    assert augury("hyper", "watch", "59", "-q").out.split() == ["401", "402", "403", "404"]


def test_watching_at_submit(augury: Augury, server: FakeServer) -> None:
    landing(server)
    said = augury("hyper", "grid", "-w", "--param", "rate=1,2", "t :rate:")
    assert said.code == 3
    assert "run 403 complete" in said.out


def test_watching_by_another_metric(augury: Augury, server: FakeServer) -> None:
    landing(server)
    server.points = [point(number, 0, float(500 - number), "loss") for number in (401, 402, 403)]
    words = ("hyper", "watch", "59", "--metric", "loss", "--goal", "minimize")
    out = augury(*words).out
    assert "run 402 complete after 5.5s, 98 (best so far)" in out
    assert "run 401 complete after 5.5s, 99  [" in out
    assert "run 403 complete after 5.5s, 97 (best so far)" in out


def test_a_paused_search_ends_the_watching(augury: Augury, server: FakeServer) -> None:
    server.search |= {"state": "paused", "pause_reason": "no run has val_acc", "counts": {"queued": 1}}
    said = augury("hyper", "watch", "59")
    assert said.code == 1
    assert "Search #59 is paused" in said.out
    assert "no run has val_acc" in said.out


def test_interrupting_detaches_and_says_how_to_come_back(augury: Augury, server: FakeServer) -> None:
    def interrupt(method: str, path: str) -> None:
        raise KeyboardInterrupt

    server.on_request = interrupt
    said = augury("hyper", "watch", "59")
    assert said.code == 130
    assert "augury hyper watch 59" in said.err
    assert augury("hyper", "describe", "59").code == 130


def test_ten_thousand_waiting_runs_are_not_read_again_and_again(augury: Augury, server: FakeServer) -> None:
    server.with_runs(*[run_document(number) for number in range(403, 2403)])
    questions = 0

    def end(method: str, path: str) -> None:
        nonlocal questions
        questions += path == "/searches/59"
        if questions == 20:
            server.search["state"] = "killed"

    server.on_request = end
    augury("hyper", "watch", "59")
    assert len(server.asked("/searches/59/runs")) < 25
