"""A lab on a network: server, workers and laptop in namespaces of their own, nothing shared but the wire."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.lab import Lab, Network, wait_until

pytestmark = pytest.mark.integration

TRAIN = """\
import argparse, os, pathlib, socket, time
import augury_sdk
from package import helper
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float)
rate = parser.parse_args().rate
for epoch in range(3):
    augury_sdk.send_metric("val_acc", helper.SCALE * rate + epoch)
pathlib.Path(os.environ["AUGURY_OUTPUT_DIR"], "model.txt").write_text(f"weights of {rate}")
where = pathlib.Path.cwd()
data = (where / "../data.txt").read_text()
print("trained with", rate, "on", os.environ["KIND"], "in", where.name, data, flush=True)
time.sleep(float(os.environ.get("NAP", "0.3")))
"""


@pytest.fixture
def project(wide_lab: Lab) -> Path:
    """A training in a folder of the laptop; nobody else can see it."""
    folder = wide_lab.home("laptop") / "project"
    (folder / "code/package").mkdir(parents=True)
    (folder / "code/train.py").write_text(TRAIN)
    (folder / "code/package/__init__.py").write_text("")
    (folder / "code/package/helper.py").write_text("SCALE = 10\n")
    (folder / "data.txt").write_text("1 2 3\n")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    wide_lab.hidden = [wide_lab.home("laptop"), wide_lab.home("server")]
    return folder


def test_searches_run_on_their_own_machines_with_the_code_as_it_was_submitted(
    wide_lab: Lab, network: Network, project: Path
) -> None:
    lab = wide_lab
    lab.serve()
    laptop = network.add("laptop")
    lab.worker("K80", 2, network.add("k80"), KIND="k80")
    lab.worker("T4", 1, network.add("t4"), KIND="t4")

    def ask(*words: str) -> str:
        return lab.ok(*words, namespace=laptop, cwd=project / "code")

    wait_until(
        lambda: "2" in ask("status") and '"slots": 1' in ask("status", "--json"), "both workers are known"
    )
    unknown = lab.laptop(
        "hyper", "grid", "-t", "V100", "--param", "rate=1", "--", "true", ":rate:", namespace=laptop
    )
    assert unknown.returncode == 2
    assert "unknown machine type 'V100': use one of K80, T4" in unknown.stderr

    grid = ("--param", "rate=0.1,0.2,0.3,0.4,0.5,0.6", "--metric", "val_acc", "--metric-agg", "last")
    command = ("--", "python", "train.py", "--rate", ":rate:")
    searches = {
        kind: int(ask("hyper", "grid", "-t", kind, *grid, "-q", *command).split()[0])
        for kind in ("K80", "T4")
    }
    # What happens to the folder from now on does not matter any more.
    (project / "code/package/helper.py").write_text("raise SystemExit('edited after the submit')\n")
    shutil.rmtree(project / "code" / "package")

    for kind, search in searches.items():
        lab.ok("hyper", "wait", str(search), namespace=laptop)
        found = lab.json("hyper", "describe", str(search), namespace=laptop)
        assert [run["state"] for run in found["runs"]] == ["complete"] * 6
        assert {run["worker"].partition("@")[0] for run in found["runs"]} == {kind.lower()}
        assert found["best"]["params"] == {"rate": 0.6}
        assert found["best"]["objective"] == pytest.approx(8.0)
        run = found["runs"][2]
        log = lab.ok("logs", str(run["id"]), namespace=laptop)
        assert log == f"trained with 0.3 on {kind.lower()} in code 1 2 3\n\n"
        rows = lab.ok("hyper", "download-metrics", str(search), "-d", "-", namespace=laptop)
        assert len(list(csv.DictReader(io.StringIO(rows)))) == 18
        lab.ok("cp", f"runs/{run['id']}/model.txt", ".", namespace=laptop, cwd=project)
        assert (project / "model.txt").read_text() == "weights of 0.3"
        (project / "model.txt").unlink()


def test_a_worker_that_comes_late_takes_its_share(wide_lab: Lab, network: Network, project: Path) -> None:
    lab = wide_lab
    lab.serve()
    laptop = network.add("laptop")
    lab.worker("K80", 1, network.add("first"), KIND="first")
    lab.wait_for_slots(1)
    words = ("--param", f"rate={','.join(str(i / 10) for i in range(16))}", "-q", "--")
    where = {"namespace": laptop, "cwd": project / "code"}
    search = lab.ok("hyper", "grid", *words, "python", "train.py", "--rate", ":rate:", **where).split()[0]
    late = lab.worker("K80", 1, network.add("late"), name="late", KIND="late")
    lab.ok("hyper", "wait", search, namespace=laptop)
    workers = [run["worker"] for run in lab.json("hyper", "describe", search, namespace=laptop)["runs"]]
    assert late.poll() is None
    assert sum(worker.startswith("late@") for worker in workers) >= 4
