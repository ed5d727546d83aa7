"""`--from-file`, `--save-command` and `download-metrics`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_fake import FakeServer, point

Augury = Callable[..., Any]


def write(name: str, document: object) -> str:
    Path(name).write_text(json.dumps(document), encoding="utf-8")
    return name


def test_a_file_gives_options_and_the_command(augury: Augury, server: FakeServer) -> None:
    file = write(
        "s.json", {"param": ["a=1,2"], "machine-type": "T4", "command": "python", "args": ["t.py", ":a:"]}
    )
    assert augury("hyper", "grid", "--from-file", file).code == 0
    assert server.submitted["command"] == {"argv": ["python", "t.py", ":a:"]}
    assert server.submitted["machine_type"] == "T4"


def test_the_command_line_replaces_an_option_of_the_file_as_a_whole(
    augury: Augury, server: FakeServer
) -> None:
    file = write("s.json", {"param": ["a=1,2"], "command": "t :b:", "num-runs": 4, "seed": 1})
    assert augury("hyper", "random", "--from-file", file, "--param", "b=3,4", "--seed", "2").code == 0
    assert list(server.submitted["space"]) == ["b"]
    assert (server.submitted["num_runs"], server.submitted["seed"]) == (4, 2)


@pytest.mark.parametrize(
    ("document", "piece"),
    [
        ({"parm": ["a=1"]}, "did you mean 'param'"),
        ({"project": "p"}, "--project is not built yet"),
        ({"param": [1]}, "'param'"),
        ({"num-runs": "many"}, "'num-runs'"),
        ({"num-runs": True}, "'num-runs'"),
        ({"goal": "best"}, "maximize, minimize"),
        ({"description": 5}, "'description'"),
        ({"args": ["x"]}, "no 'command'"),
        ({"command": "t :a:"}, "both in"),
        ({"json": True}, "unknown key 'json'"),
        ([], "must hold option names"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    augury: Augury, server: FakeServer, document: object, piece: str
) -> None:
    said = augury("hyper", "random", "--from-file", write("s.json", document), "-n", "2", "--", "t", ":a:")
    assert said.code == 2
    assert "s.json" in said.err
    assert piece in said.err
    assert server.requests == []


@pytest.mark.parametrize("text", ["{", '{"param": ["a=1"], "param": ["a=2"]}', "\udcff"])
def test_a_file_that_is_no_json_is_named(augury: Augury, text: str) -> None:
    Path("s.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    said = augury("hyper", "grid", "--from-file", "s.json", "--", "t", ":a:")
    assert (said.code, "s.json" in said.err) == (2, True)
    assert augury("hyper", "grid", "--from-file", "none.json", "--", "t", ":a:").code == 2


@pytest.mark.parametrize("name", ["again.json", "again.yaml"])
def test_a_saved_command_gives_the_same_request(augury: Augury, server: FakeServer, name: str) -> None:
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    words = ("--param", "a=1,2", "--metric", "m", "-t", "K80", "--label", "ä", "--", "python", "t.py", ":a:")
    assert augury("hyper", "grid", "--save-command", name, *words).code == 0
    first = server.submitted
    server.requests.clear()
    assert augury("hyper", "grid", "--from-file", name).code == 0
    assert server.submitted == first


def test_only_what_was_used_is_saved(augury: Augury) -> None:
    augury("hyper", "grid", "--save-command", "s.json", "--json", "--param", "a=1,2", "t :a:")
    assert json.loads(Path("s.json").read_text()) == {"command": "t :a:", "param": ["a=1,2"]}


def test_a_saved_command_does_not_overwrite_another_file(augury: Augury, server: FakeServer) -> None:
    words = ("hyper", "grid", "--save-command", "s.json", "t :a:", "--param")
    assert augury(*words, "a=1,2").code == 0
    assert augury(*words, "a=1,2").code == 0
    server.requests.clear()
    said = augury(*words, "a=1,3")
    assert (said.code, server.requests) == (2, [])
    assert "s.json exists" in said.err


def test_the_line_replaces_an_option_of_the_file_as_a_whole(augury: Augury, server: FakeServer) -> None:
    Path("s.yaml").write_text('param: ["a=1,2"]\nmachine-type: T4\ncommand: python\nargs: [t.py, ":b:"]\n')
    assert augury("hyper", "grid", "--from-file", "s.yaml", "--param", "b=3").code == 0
    assert list(server.submitted["space"]) == ["b"]
    assert server.submitted["machine_type"] == "T4"


def test_broken_yaml_is_named(augury: Augury) -> None:
    Path("s.yaml").write_text("param: [a=1")
    said = augury("hyper", "grid", "--from-file", "s.yaml", "--", "t", ":a:")
    assert (said.code, "not valid YAML" in said.err) == (2, True)


def test_metrics_are_written_as_csv_and_never_over_another_file(augury: Augury, server: FakeServer) -> None:
    server.page = 2
    server.points = [point(401, 0, 0.5), point(401, 1, "NaN"), point(402, 0, 3, 'odd, "name"')]
    assert augury("hyper", "download-metrics", "59").out == "3 metric points written to metrics.csv\n"
    with Path("metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["run_id", "metric_name", "timestamp", "index", "value"]
    assert rows[1][:2] + rows[1][3:] == ["401", "val_acc", "0", "0.5"]
    assert rows[2][4] == "NaN"
    assert rows[3][1] == 'odd, "name"'
    again = augury("hyper", "download-metrics", "59")
    assert again.code == 2
    assert "-f" in again.err
    again = augury("hyper", "download-metrics", "59", "-f", "--json")
    assert again.json == {"file": "metrics.csv", "points": 3}
    assert augury("hyper", "download-metrics", "59", "-d", "no/such/folder/m.csv").code == 2
    assert augury("hyper", "download-metrics", "59", "-d", ".").code == 2


def test_names_that_look_like_formulas_reach_no_spreadsheet_as_such(
    augury: Augury, server: FakeServer
) -> None:
    server.points = [point(401, i, -0.5, name) for i, name in enumerate(("=1+1", "+a", "-a", "@a", "a=-"))]
    augury("hyper", "download-metrics", "59")
    rows = [line.split(",") for line in Path("metrics.csv").read_text().splitlines()[1:]]
    assert [row[1] for row in rows] == ["'=1+1", "'+a", "'-a", "'@a", "a=-"]
    assert {row[4] for row in rows} == {"-0.5"}


def test_metrics_can_be_written_to_stdout(augury: Augury, server: FakeServer) -> None:
    server.points = [point(401, 0, 0.5), point(401, 1, "NaN")]
    said = augury("hyper", "download-metrics", "59", "-d", "-")
    assert said.out.splitlines()[0] == "run_id,metric_name,timestamp,index,value"
    assert [line.split(",")[-1] for line in said.out.splitlines()[1:]] == ["0.5", "NaN"]
    assert (said.code, said.err) == (0, "")
    assert not Path("-").exists()
    said = augury("hyper", "download-metrics", "59", "-d", "-", "--json")
    assert said.code == 2
    assert "--dest -" in said.err


def test_a_download_that_fails_leaves_no_file(augury: Augury, server: FakeServer) -> None:
    assert augury("hyper", "download-metrics", "60").code == 1
    assert list(Path().iterdir()) == []
