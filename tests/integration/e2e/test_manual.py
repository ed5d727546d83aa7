"""The lines of the manual, typed as they stand there, in a folder with only a training script."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.e2e.conftest import Shell

pytestmark = pytest.mark.integration

STAMPED = """\
import json, os, sys, time
stamp = {"run": os.environ["AUGURY_RUN_ID"], "start": time.time()}
code = __import__("subprocess").run([sys.executable, "train.py", *sys.argv[1:]]).returncode
stamp["end"] = time.time()
with open("stamps.jsonl", "a") as file:
    file.write(json.dumps(stamp) + "\\n")
sys.exit(code)
"""


def stamps(shell: Shell) -> dict[int, tuple[float, float]]:
    lines = (shell.folder / "stamps.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert len({stamp["run"] for stamp in found}) == len(found), "a run was executed twice"
    return {int(stamp["run"]): (stamp["start"], stamp["end"]) for stamp in found}


@pytest.fixture
def stamped(shell: Shell) -> Shell:
    """The same `train.py`, which also writes down when it began and ended."""
    (shell.folder / "train.py").rename(shell.folder / "training.py")
    (shell.folder / "train.py").write_text(STAMPED.replace('"train.py"', '"training.py"'))
    return shell


def test_the_grid_of_the_manual(stamped: Shell) -> None:
    shown = stamped.run(
        *[
            "hyper",
            "grid",
            "-t",
            "K80",
            "--param",
            "rate=0.001,0.01,0.1,1",
            "--param",
            "layers=2,3,5,10",
            "--",
        ],
        "python train.py --learning_rate :rate: --num_layers :layers:",
    )
    assert shown.returncode == 0, shown.stderr
    assert "Casting hyperparameter search #1" in shown.stdout
    assert re.search(r"rate +layers +Run ID", shown.stdout)
    assert "K80 is served by the local worker" in shown.stderr
    assert stamped.run("hyper", "wait", "1").returncode == 0
    search = stamped.search(1)
    assert search["state"] == "finished"
    rates, layers = ["0.001", "0.01", "0.1", "1"], ["2", "3", "5", "10"]
    wanted = [f"python train.py --learning_rate {r} --num_layers {n}" for r in rates for n in layers]
    assert [run["command"] for run in search["runs"]] == wanted
    assert [run["id"] for run in search["runs"]] == list(range(1, 17))
    assert {run["state"] for run in search["runs"]} == {"complete"}
    assert {run["exit_code"] for run in search["runs"]} == {0}
    assert set(stamps(stamped)) == set(range(1, 17))
    points = stamped.ok("hyper", "download-metrics", "1", "-d", "points.csv") or True
    assert points
    rows = (stamped.folder / "points.csv").read_text().splitlines()
    assert rows[0] == "run_id,metric_name,timestamp,index,value"
    per_run = {run: sum(row.startswith(f"{run},keras/val_acc,") for row in rows) for run in range(1, 17)}
    assert len(set(per_run.values())) == 1
    assert min(per_run.values()) >= 5


def test_the_random_search_of_the_manual(stamped: Shell) -> None:
    stamped.ok(
        *[
            "hyper",
            "random",
            "--num-runs",
            "10",
            "--param",
            "rate=.001:1.0:log",
            "--param",
            "layers=2:100:linear:int",
        ],
        *[
            "--param",
            "cell=gru,lstm,rnn",
            "--",
            "python",
            "train.py",
            "--learning_rate",
            ":rate:",
            "--num_layers",
            ":layers:",
        ],
        *["--cell_type", ":cell:"],
    )
    assert stamped.run("hyper", "wait", "1").returncode == 0
    runs = stamped.search(1)["runs"]
    assert len(runs) == 10
    for run in runs:
        assert 0.001 <= run["params"]["rate"] <= 1.0
        assert run["params"]["layers"] in range(2, 101)
        assert run["params"]["cell"] in ("gru", "lstm", "rnn")
        assert run["state"] == "complete"
        assert f"--learning_rate {run['params']['rate']!r} " in run["command"]
    assert set(stamps(stamped)) == {run["id"] for run in runs}


def test_the_bayesian_search_of_the_manual(stamped: Shell) -> None:
    shown = stamped.ok(
        *[
            "hyper",
            "bayesian",
            "--num-runs",
            "12",
            "--parallel-runs",
            "3",
            "--metric",
            "keras/val_acc",
            "--metric-agg",
            "avg",
        ],
        *["--param", "rate=.001:1.0", "--param", "layers=2:100:int"],
        *["python", "train.py", "--learning_rate", ":rate:", "--num_layers", ":layers:"],
    )
    table = [line for line in shown.splitlines() if re.match(r"\S+ +\d+ +\d+$", line)]
    assert len(table) == 3, "only the first --parallel-runs are known at submit"
    assert stamped.run("hyper", "wait", "1").returncode == 0
    search = stamped.search(1)
    assert len(search["runs"]) == 12
    assert {run["state"] for run in search["runs"]} == {"complete"}
    times = stamps(stamped)
    edges = sorted([(start, 1) for start, _ in times.values()] + [(end, -1) for _, end in times.values()])
    in_flight = [0]
    for _, change in edges:
        in_flight.append(in_flight[-1] + change)
    assert max(in_flight) <= 3
    best = stamped.json("hyper", "best", "1")
    assert best["objective"] == max(run["objective"] for run in search["runs"])
    assert search["best"]["id"] == best["id"]
    averages = {}
    for run in search["runs"]:
        details = stamped.json("info", str(run["id"]))
        assert "keras/val_acc" in details["metric_names"]
        averages[run["id"]] = run["objective"]
    assert len(set(averages.values())) > 6, "the objective hardly depends on the parameters"


def test_a_shell_training_reports_metrics(shell: Shell) -> None:
    script = Path(__file__).parents[3] / "examples" / "train.sh"
    shell.ok(
        *["hyper", "grid", "--metric", "loss", "--goal", "minimize", "--param", "rate=0.05,0.2", "--"],
        "sh",
        str(script),
        "--rate",
        ":rate:",
    )
    assert shell.run("hyper", "wait", "1").returncode == 0
    assert all(run["objective"] is not None for run in shell.search(1)["runs"])


def test_the_order_of_doorbells_is_the_order_of_runs(shell: Shell) -> None:
    shell.variables["AUGURY_SLOTS"] = "1"
    shell.ok("hyper", "grid", "--param", "a=1,2,3,4,5,6", "--", "echo :a: >> order")
    assert shell.run("hyper", "wait", "1").returncode == 0
    assert (shell.folder / "order").read_text().split() == list("123456")
    started = [run["started_at"] for run in shell.search(1)["runs"]]
    assert all(one < other for one, other in pairwise(started))
