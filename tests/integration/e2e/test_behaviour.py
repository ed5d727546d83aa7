"""What a user sees when things are not plain sailing."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.e2e.conftest import EXAMPLES, Shell, wait_until

pytestmark = pytest.mark.integration


def test_two_shells_do_not_mix_their_environments(shell: Shell) -> None:
    shell.variables["FLAVOUR"] = "vanilla"
    shell.ok("run", "-b", "--", "sleep 0.5; echo $FLAVOUR $PWD")
    shell.variables["FLAVOUR"] = "lemon"
    other = shell.folder / "inner"
    other.mkdir()
    assert shell.run("run", "-b", "--", "echo $FLAVOUR $PWD", cwd=other).returncode == 0
    wait_until(lambda: shell.json("info", "2")["state"] == "complete")
    wait_until(lambda: shell.json("info", "1")["state"] == "complete")
    assert shell.ok("logs", "1").strip() == f"vanilla {shell.folder}"
    assert shell.ok("logs", "2").strip() == f"lemon {other}"
    for kept in (shell.home / "environments").iterdir():
        assert kept.stat().st_mode & 0o077 == 0


def test_a_failing_command_is_failed_with_its_exit_code(shell: Shell) -> None:
    shell.ok("hyper", "grid", "--param", "code=0,3", "--", "exit :code:")
    assert shell.run("hyper", "wait", "1").returncode == 3
    states = {run["params"]["code"]: (run["state"], run["exit_code"]) for run in shell.search(1)["runs"]}
    assert states == {0: ("complete", 0), 3: ("failed", 3)}


def test_run_follows_the_output_and_gives_the_exit_code(shell: Shell) -> None:
    done = shell.run("run", "--", "echo one; sleep 0.3; echo two; exit 5")
    assert "one\ntwo\n" in done.stdout
    assert done.returncode == 5


def test_a_wrong_metric_name_pauses_the_search_and_names_the_right_one(shell: Shell) -> None:
    say = 'echo "{\\"name\\": \\"val_acc\\", \\"value\\": :a:}" >> "$AUGURY_METRICS"'
    shell.ok("hyper", "grid", "--metric", "val_ac", "-r", "1", "--param", "a=1,2,3,4,5,6,7,8", "--", say)
    assert shell.run("hyper", "wait", "1", "--timeout", "60").returncode == 1
    search = shell.search(1)
    assert search["state"] == "paused"
    assert "'val_acc'" in search["pause_reason"]
    assert sum(run["state"] == "complete" for run in search["runs"]) in (3, 4)
    assert {run["cause"] for run in search["runs"] if run["state"] == "complete"} == {"no_metric"}
    assert shell.json("hyper", "best", "1", "--metric", "val_acc")["objective"] == 3.0
    shell.ok("hyper", "resume", "1")
    wait_until(lambda: shell.search(1)["counts"].get("complete", 0) >= 6)
    shell.ok("hyper", "stop", "1")
    wait_until(lambda: shell.search(1)["state"] == "stopped")


def test_output_can_be_the_metric(shell: Shell) -> None:
    shell.ok(
        *["hyper", "grid", "--metric", "acc", "--metric-agg", "max", "--param", "a=1,2", "--metric-regex"],
        r"acc=accuracy: ([0-9.]+)",
        *("--", "for i in 3 9 5; do echo epoch $i accuracy: 0.$i:a: ; done"),
    )
    assert shell.run("hyper", "wait", "1").returncode == 0
    assert [run["objective"] for run in shell.search(1)["runs"]] == [0.91, 0.92]


def test_not_a_number_is_kept_and_is_no_objective(shell: Shell) -> None:
    say = 'for v in 1 :last:; do echo "{\\"name\\": \\"m\\", \\"value\\": $v}" >> "$AUGURY_METRICS"; done'
    shell.ok("hyper", "grid", "--metric", "m", "--param", "last=2,NaN,Infinity", "--", say)
    assert shell.run("hyper", "wait", "1").returncode == 0
    runs = shell.search(1)["runs"]
    assert [run["objective"] for run in runs] == [2.0, None, None]
    assert [run["cause"] for run in runs] == ["exit", "diverged", "diverged"]
    shell.ok("hyper", "download-metrics", "1")
    values = [row.rsplit(",", 1)[1] for row in (shell.folder / "metrics.csv").read_text().splitlines()[1:]]
    assert values.count("NaN") == 1
    assert values.count("Infinity") == 1


def test_minimize_finds_the_smallest(shell: Shell) -> None:
    say = 'echo "{\\"name\\": \\"loss\\", \\"value\\": :a:}" >> "$AUGURY_METRICS"'
    shell.ok(*["hyper", "grid", "--metric", "loss", "--goal", "minimize", "--param", "a=3,1,2", "--"], say)
    assert shell.run("hyper", "wait", "1").returncode == 0
    assert shell.json("hyper", "best", "1")["params"] == {"a": 1}
    assert shell.json("hyper", "best", "1", "--goal", "maximize")["params"] == {"a": 3}


def test_stop_is_polite_and_kill_is_not(shell: Shell) -> None:
    shell.variables["AUGURY_SLOTS"] = "2"
    polite = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.05; done; : :a:"
    shell.ok("hyper", "grid", "--param", "a=1,2,3,4,5", "--", polite)
    for run in ("1", "2"):
        wait_until(lambda run=run: "ready" in shell.ok("logs", run))
    shell.ok("hyper", "stop", "1")
    wait_until(lambda: shell.search(1)["state"] == "stopped", 15)
    assert [run["state"] for run in shell.search(1)["runs"]] == ["stopped"] * 2 + ["killed"] * 3
    assert "bye" in shell.ok("logs", "1")
    shell.ok("run", "-b", "--", polite.replace(":a:", "1"))
    wait_until(lambda: "ready" in shell.ok("logs", "6"))
    shell.ok("kill", "6")
    wait_until(lambda: shell.json("info", "6")["state"] == "killed", 10)
    assert "bye" not in shell.ok("logs", "6")


def test_a_deleted_folder_is_named(shell: Shell) -> None:
    gone = shell.folder / "gone"
    gone.mkdir()
    shell.variables["AUGURY_SLOTS"] = "1"
    shell.ok("run", "-b", "--", "sleep 4")
    assert shell.run("run", "-b", "--", "echo here", cwd=gone).returncode == 0
    gone.rmdir()
    wait_until(lambda: shell.json("info", "2")["state"] == "failed")
    details = shell.json("info", "2")
    assert details["cause"] == "could_not_start"
    assert str(gone) in details["detail"]


def test_the_sdk_needs_no_installation(shell: Shell, tmp_path: Path) -> None:
    bare = shell.folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    (shell.folder / "job.py").write_text(
        "import augury_sdk, sys\n"
        "from spell.metrics import send_metric\n"
        "assert 'augury' not in sys.modules\n"
        "try:\n    import celery\n    sys.exit(9)\nexcept ImportError:\n    pass\n"
        "augury_sdk.send_metric('value', augury_sdk.params()['a'] * 2)\n"
        "send_metric('old', 1.5)\n"
    )
    shell.ok(
        "hyper", "grid", "--metric", "value", "--param", "a=1,21", "--", f"'{bare}/bin/python' job.py :a:"
    )
    assert shell.run("hyper", "wait", "1").returncode == 0, shell.ok("logs", "1")
    assert [run["objective"] for run in shell.search(1)["runs"]] == [2.0, 42.0]


def test_without_the_token_every_route_is_closed(shell: Shell) -> None:
    shell.ok("up")
    instance = shell.instance()
    where = urlsplit(str(instance["url"]))

    def status(path: str, headers: dict[str, str], method: str = "GET") -> int:
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
        connection.request(method, path, headers=headers)
        return connection.getresponse().status

    right = {"Authorization": f"Bearer {instance['token']}"}
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    connection.request("GET", "/api/v1/openapi.json", headers=right)
    document = json.loads(connection.getresponse().read())
    assert len(document["paths"]) >= 15
    for path, methods in document["paths"].items():
        concrete = path.replace("{search_id}", "1").replace("{run_id}", "1")
        for method in methods:
            assert status(concrete, {}, method.upper()) == 401, path
            assert status(concrete, {"Authorization": "Bearer wrong"}, method.upper()) == 401, path
    for path in ("/", "/api/v1/openapi.json", "/docs", "/no-such-page"):
        assert status(path, {}) == 401
    assert status("/api/v1/status", right | {"Host": "evil.example"}) == 400


def test_bad_input_starts_nothing(shell: Shell) -> None:
    for words in (
        ["hyper", "grid", "--param", "a=1,,2", "--", "echo :a:"],
        ["hyper", "grid", "--param", "a=1,2", "--", "echo nothing"],
        ["hyper", "random", "--param", "a=1:2", "--", "echo :a:"],
        ["hyper", "bayesian", "-n", "5", "-r", "2", "--param", "a=1:2", "--", "echo :a:"],
        ["hyper", "grid", "--no-such-option", "--param", "a=1", "--", "echo :a:"],
    ):
        done = shell.run(*words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr + done.stdout
        assert done.stderr.strip()
    assert not shell.home.exists(), "nothing was started for a command line that is wrong"


def test_an_absurd_grid_is_refused_at_once(shell: Shell) -> None:
    values = ",".join(str(value) for value in range(1000))
    params = [word for name in "abcd" for word in ("--param", f"{name}={values}")]
    begun = time.monotonic()
    done = shell.run("hyper", "grid", *params, "--", "echo :a: :b: :c: :d:")
    assert time.monotonic() - begun < 5
    assert done.returncode == 2
    assert "1,000,000,000,000" in done.stderr
    assert "--max-runs" in done.stderr


def test_a_dry_run_shows_and_stores_nothing(shell: Shell) -> None:
    words = ["hyper", "random", "-n", "3", "--seed", "7", "--param", "a=0:1", "--json"]
    shown = json.loads(shell.ok(*words, "--dry-run", "--", "echo :a:"))
    assert len(shown["runs"]) == 3
    assert shell.json("hyper", "list") == []
    shell.ok("hyper", "random", "-n", "3", "--seed", "7", "--param", "a=0:1", "--", "echo :a:")
    assert [run["params"] for run in shell.search(1)["runs"]] == [run["params"] for run in shown["runs"]]


def test_the_python_api_of_the_old_product(shell: Shell) -> None:
    shutil.copy(EXAMPLES / "basic.py", shell.folder)
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "scripts" / "from_api.py"],
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows[0] == [0.0, 1.3, 2.6, 3.9, 5.2]


def test_works_in_a_folder_that_is_not_readable_by_others(shell: Shell) -> None:
    shell.folder.chmod(0o700)
    assert shell.run("run", "--", "echo fine").stdout.strip().endswith("fine")
