"""Real uses of the old product (its examples and its users' scripts), with local code."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product

import pytest

from tests.integration.e2e.conftest import Shell

pytestmark = pytest.mark.integration

STAND_IN = """\
import argparse
from spell.metrics import send_metric
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=25)
for name in ("conv2_filter", "dense_layer"):
    parser.add_argument(f"--{name}", type=int, required=True)
parser.add_argument("--dropout_3", type=float, required=True)
a = parser.parse_args()
for epoch in range(a.epochs):
    send_metric("keras/val_accuracy", (a.conv2_filter + a.dense_layer) / 300 - a.dropout_3 + epoch / 100)
"""

COMMAND = (
    "python hyper/cifar10_cnn.py --epochs 25 --conv2_filter :conv2_filter: "
    "--dense_layer :dense_layer: --dropout_3 :dropout_3:"
)


@pytest.fixture
def examples(shell: Shell) -> Shell:
    (shell.folder / "hyper").mkdir()
    (shell.folder / "hyper" / "cifar10_cnn.py").write_text(STAND_IN)
    return shell


def test_the_grid_of_the_notebook(examples: Shell) -> None:
    examples.ok(
        *("hyper", "grid", "--machine-type", "K80", "--param", "conv2_filter=16,72,128"),
        *("--param", "dense_layer=32,64,128", "--param", "dropout_3=0.2,0.5", COMMAND),
    )
    assert len(examples.search(1)["runs"]) == 18, "all runs exist at once"
    assert examples.run("hyper", "wait", "1").returncode == 0
    found = {tuple(run["params"].values()) for run in examples.search(1)["runs"]}
    assert found == set(product((16, 72, 128), (32, 64, 128), (0.2, 0.5)))
    script = (
        "import augury, datetime, json\n"
        "client = augury.Client()\n"
        "for run in client.hyper.get(1).runs:\n"
        "    points = list(client.runs.get(run.id).metrics('keras/val_accuracy'))\n"
        "    assert [index for _, index, _ in points] == list(range(25)), points\n"
        "    assert all(isinstance(time, datetime.datetime) and time.tzinfo for time, _, _ in points)\n"
    )
    subprocess.run([sys.executable, "-c", script], env=examples.environment(), check=True)


def test_the_random_search_of_the_notebook(examples: Shell) -> None:
    examples.ok(
        *("hyper", "random", "--machine-type", "K80", "--param", "conv2_filter=16:128:linear:int"),
        *(
            "--param",
            "dense_layer=32:128:linear:int",
            "--param",
            "dropout_3=0.2:0.5",
            "--num-runs",
            "18",
            COMMAND,
        ),
    )
    assert examples.run("hyper", "wait", "1").returncode == 0
    runs = examples.search(1)["runs"]
    assert len(runs) == 18
    for run in runs:
        params = run["params"]
        assert params["conv2_filter"] in range(16, 129)
        assert params["dense_layer"] in range(32, 129)
        assert 0.2 <= params["dropout_3"] <= 0.5
        assert run["command"].endswith(f"--dropout_3 {params['dropout_3']!r}")


def test_the_bayesian_search_of_the_notebook(examples: Shell) -> None:
    examples.ok(
        *("hyper", "bayesian", "--machine-type", "K80", "--param", "conv2_filter=16:128:int"),
        *("--param", "dense_layer=32:128:int", "--param", "dropout_3=0.2:0.5", "--num-runs", "18"),
        *("--parallel-runs", "3", "--metric", "keras/val_accuracy", "--metric-agg", "last", COMMAND),
    )
    assert examples.run("hyper", "wait", "1").returncode == 0
    search = examples.search(1)
    assert len(search["runs"]) == 18
    for run in search["runs"]:
        p = run["params"]
        wanted = (p["conv2_filter"] + p["dense_layer"]) / 300 - p["dropout_3"] + 0.24
        assert run["objective"] == pytest.approx(wanted)
    assert search["best"]["objective"] > 0.75, "the corner of this plane is easy to find"


def test_options_may_follow_a_quoted_command(shell: Shell) -> None:
    shell.ok("hyper", "grid", "--param", "a=1,2", "echo :a:", "--label", "late", "-d", "options behind")
    search = shell.search(1)
    assert search["labels"] == ["late"]
    assert search["command"] == "echo :a:"


def test_colons_that_are_no_placeholders_are_left_alone(shell: Shell) -> None:
    shell.ok(
        *("hyper", "grid", "--param", "a=1,2", "--"),
        "echo python t.py :a: --at 12:30:00 --url http://h:80/x",
    )
    assert shell.run("hyper", "wait", "1").returncode == 0
    assert shell.ok("logs", "1").strip() == "python t.py 1 --at 12:30:00 --url http://h:80/x"


def test_a_worker_on_one_machine_is_not_given_up_for_silence(shell: Shell) -> None:
    for words in (("hyper", "grid", "--dry-run", "--param", "a=1,2"), ("run", "-b", "--param", "a=1")):
        said = shell.run(*words, "--lost-after", "60", "--", "echo", ":a:")
        assert said.returncode == 0, said.stderr
        assert "--lost-after has no effect here" in said.stderr


def test_json_values_are_not_truncated(shell: Shell) -> None:
    shell.ok("hyper", "grid", "--json-param", 'a=[0.5, 1.7, "x,y"]', "--", "echo :a:")
    assert shell.run("hyper", "wait", "1").returncode == 0
    assert [run["params"]["a"] for run in shell.search(1)["runs"]] == [0.5, 1.7, "x,y"]
    assert [shell.ok("logs", str(run)).strip() for run in (1, 2, 3)] == ["0.5", "1.7", "x,y"]


def test_values_keep_their_spelling_and_reach_no_shell(shell: Shell) -> None:
    hostile = ["0.00000001", "007", "1e4", "$(touch pwned)", "'; touch pwned; '", '"q"', "-n", "a b"]
    shell.ok(
        "hyper", "grid", "--json-param", "v=" + json.dumps(hostile), "--", "printf '%s|' :v: \":v:\" ':v:'"
    )
    assert shell.run("hyper", "wait", "1").returncode == 0
    for run, value in enumerate(hostile, 1):
        assert shell.ok("logs", str(run)) == f"{value}|" * 3
    assert not (shell.folder / "pwned").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["grid", "--param", "a=1,,2"],
        ["grid", "--param", "a=1", "--param", "a=2"],
        ["grid", "--param", "a"],
        ["grid", "--json-param", 'a={"x":1}'],
        ["grid", "--json-param", "a=[1,"],
        ["random", "-n", "2", "--param", "a=lo:hi"],
        ["random", "-n", "2", "--param", "a=1:2:cubic"],
        ["random", "-n", "2", "--param", "a=1:2:linear:bool"],
        ["random", "-n", "2", "--param", "a=0:1:log"],
        ["random", "-n", "2", "--param", "a=5:1"],
        ["random", "-n", "0", "--param", "a=0:1"],
        ["random", "-n", "x", "--param", "a=0:1"],
        ["bayesian", "-n", "2", "-r", "1", "--metric", "m", "-a", "sum", "--param", "a=0:1"],
        ["bayesian", "-n", "2", "-r", "1", "--param", "a=0:1"],
        ["grid", "--param", "rate=1,2", "--param", "a=1"],
        ["grid", "--stop-condition", "loss:lt:5", "--param", "a=1"],
        ["grid", "-p", "a=1"],
        ["grid", "-m", "runs/4", "--param", "a=1"],
    ],
    ids=" ".join,
)
def test_what_must_be_refused(shell: Shell, words: list[str]) -> None:
    done = shell.run("hyper", *words, "--", "echo :a: :rat:" if "rate=1,2" in words else "echo :a:")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "No such option" not in done.stderr
    assert not shell.home.exists()
