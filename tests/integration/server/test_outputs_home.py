"""Files that runs leave come back over HTTP: server, workers and a user's requests."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from augury.errors import UnavailableError
from augury.server.app import build
from augury.server.service import Service
from augury.store import events
from tests.integration.server.conftest import Cluster, grid, search_state, states, wait_until

pytestmark = pytest.mark.integration
WRITE = "cd $AUGURY_OUTPUT_DIR && mkdir -p ckpt && echo :a: > ckpt/a && printf xy > b"


class Lab:
    """A cluster whose server also listens."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self.service: Service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        self.service = self.cluster.serve()
        config = uvicorn.Config(build(self.service), log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        listening = self._socket.dup()
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._server is not None and self._server.started)

    def close(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(20)
            assert not self._thread.is_alive()
            self._server = None

    def work(self) -> None:
        """Start a worker of one slot."""
        self.cluster.worker("K80", 1)
        wait_until(lambda: self.service.roster.slots("k80") == 1)
        wait_until(self._knows_type)

    def _knows_type(self) -> bool:
        return self.service.submit(grid(1), "ada", dry_run=True).plan.spec.machine_type == "K80"

    def submit(self, command: str, count: int = 1, **fields: Any) -> int:
        search_id = self.service.submit(grid(count, command, **fields), "ada", dry_run=False).search_id
        assert search_id is not None
        return search_id

    def get(self, path: str) -> httpx.Response:
        token = self.service.make_local_token()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{self.url}/api/v1{path}", headers=headers, timeout=30)

    def outputs(self, run: int) -> dict[str, bytes]:
        listing = self.get(f"/runs/{run}/outputs").json()["outputs"]
        found = {one["path"]: self.get(f"/runs/{run}/outputs/{one['path']}").content for one in listing}
        assert {one["path"]: one["bytes"] for one in listing} == {
            path: len(content) for path, content in found.items()
        }
        return found

    def run(self, run: int) -> dict[str, Any]:
        return dict(self.get(f"/runs/{run}").json())

    def state(self, run: int) -> str:
        return self.service.run(run).state

    def stored(self) -> list[str]:
        folder = self.cluster.folder / "blobs" / "outputs"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def lab(cluster: Cluster) -> Iterator[Lab]:
    made = Lab(cluster)
    cluster.url = made.url
    made.open()
    made.work()
    yield made
    made.close()


def slow(service: Service, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let the server take the files in only once the event is set."""
    goes, put = threading.Event(), service.blobs.put

    def patient(name: str, chunks: Iterable[bytes]) -> int:
        def waiting() -> Iterator[bytes]:
            for chunk in chunks:
                while not goes.wait(0.05):
                    if service.run(1).want == "kill":
                        break
                yield chunk

        return put(name, waiting())

    monkeypatch.setattr(service.blobs, "put", patient)
    return goes


def test_files_of_complete_failed_and_stopped_runs_come_back_and_of_killed_ones_not(lab: Lab) -> None:
    complete = lab.submit(WRITE, 2)
    wait_until(lambda: search_state(lab.service, complete) == "finished")
    assert [lab.outputs(run) for run in (1, 2)] == [
        {"ckpt/a": b"0\n", "b": b"xy"},
        {"ckpt/a": b"1\n", "b": b"xy"},
    ]
    assert lab.run(1)["output_files"] == 2
    assert (lab.run(1)["state"], lab.run(1)["cause"]) == ("complete", "exit")
    answer = lab.get("/runs/1/outputs/ckpt/a")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    lab.submit(f"{WRITE}; exit 3")
    wait_until(lambda: lab.state(3) == "failed")
    assert lab.outputs(3) == {"ckpt/a": b"0\n", "b": b"xy"}
    lab.submit("trap 'echo last > $AUGURY_OUTPUT_DIR/c; exit 0' TERM; echo :a:; sleep 60 & wait")
    wait_until(lambda: lab.get("/runs/4/logs").json()["text"])
    lab.service.end_runs([4], "stop")
    wait_until(lambda: lab.state(4) == "stopped")
    assert lab.outputs(4) == {"c": b"last\n"}
    lab.submit(f"{WRITE}; echo :a:; sleep 60")
    wait_until(lambda: lab.get("/runs/5/logs").json()["text"])
    lab.service.end_runs([5], "kill")
    wait_until(lambda: lab.state(5) == "killed")
    assert lab.outputs(5) == {}
    lab.submit("true :a:")
    wait_until(lambda: lab.state(6) == "complete")
    assert lab.run(6)["output_files"] == 0
    assert lab.stored() == ["1.1.zip", "2.1.zip", "3.1.zip", "4.1.zip"]


def test_only_names_in_the_zip_are_paths(lab: Lab) -> None:
    (lab.cluster.folder / "blobs" / "outputs").mkdir(parents=True)
    (lab.cluster.folder / "blobs" / "outputs" / "secret").write_text("x")
    lab.submit(WRITE)
    wait_until(lambda: lab.state(1) == "complete")
    for path in ("secret", "../secret", "%2e%2e/secret", "ckpt", "ckpt/", "%2Fetc/passwd", "b%00", "1.1.zip"):
        answer = lab.get(f"/runs/1/outputs/{path}")
        assert answer.status_code == 404, path
        assert "augury ls runs/1" in answer.json().get("error", "augury ls runs/1")
    assert lab.get("/runs/9/outputs").status_code == 404


def test_a_damaged_zip_is_a_sentence(lab: Lab) -> None:
    lab.submit(WRITE)
    wait_until(lambda: lab.state(1) == "complete")
    (lab.cluster.folder / "blobs" / "outputs" / "1.1.zip").write_bytes(b"no zip")
    answer = lab.get("/runs/1/outputs")
    assert answer.status_code == 409
    assert "the outputs of run 1 cannot be read" in answer.json()["error"]
    assert lab.run(1)["output_files"] is None


def test_a_run_that_saves_counts_as_open_and_can_be_stopped_in_vain(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes = slow(lab.service, monkeypatch)
    search_id = lab.submit(WRITE, 2, parallel_runs=1)
    wait_until(lambda: lab.state(1) == "saving")
    assert lab.run(1)["attempt_list"][0]["state"] == "saving"
    assert lab.run(1)["output_files"] == 0
    with lab.service.store.read() as connection:
        told = [event.data for event in events.after(connection, 0, search_id=search_id, run_id=1)]
    assert {"state": "saving", "files": 2, "bytes": 4} in told
    lab.service.end_runs([1], "stop")
    time.sleep(1.5)  # the leader asserts the wish anew meanwhile
    assert states(lab.service, search_id) == ["saving", "queued"]
    goes.set()
    wait_until(lambda: search_state(lab.service, search_id) == "finished")
    assert states(lab.service, search_id) == ["complete", "complete"]
    assert lab.outputs(1) == {"ckpt/a": b"0\n", "b": b"xy"}


def test_a_kill_while_saving_drops_the_files(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(lab.service, monkeypatch)
    lab.submit(WRITE)
    wait_until(lambda: lab.state(1) == "saving")
    lab.service.end_runs([1], "kill")
    wait_until(lambda: lab.state(1) == "killed", 5)
    assert (lab.run(1)["cause"], lab.run(1)["exit_code"]) == ("killed", 0)
    assert lab.outputs(1) == {}
    wait_until(lambda: lab.stored() == [])


def test_a_worker_lost_while_saving_loses_the_files_and_the_run_does_not_run_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(lab.service, monkeypatch)
    lab.submit(WRITE)
    wait_until(lambda: lab.state(1) == "saving")
    worker = lab.cluster.processes.pop()
    pids = [worker.pid, *_below(worker.pid)]
    for pid in reversed(pids):  # the supervisor first: it gets no last words
        os.kill(pid, signal.SIGKILL)
    worker.wait()
    assert lab.state(1) == "saving"
    lab.cluster.worker("K80", 1)
    wait_until(lambda: lab.state(1) == "complete")
    document = lab.run(1)
    assert (document["cause"], document["attempts"], document["exit_code"]) == ("outputs_lost", 1, 0)
    assert "files it wrote did not come back" in document["detail"]
    assert lab.outputs(1) == {}


def test_a_server_that_is_away_for_a_while_gets_the_files_when_it_is_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes = slow(lab.service, monkeypatch)
    search_id = lab.submit(WRITE, 2)
    wait_until(lambda: lab.state(1) == "saving")
    lab.close()
    goes.set()
    lab.cluster.services.remove(lab.service)
    lab.service.stop()
    time.sleep(1.0)
    lab.open()
    wait_until(lambda: search_state(lab.service, search_id) == "finished", 60)
    assert states(lab.service, search_id) == ["complete", "complete"]
    assert lab.outputs(1) == {"ckpt/a": b"0\n", "b": b"xy"}
    assert {lab.run(run)["attempts"] for run in (1, 2)} == {1}
    assert lab.stored() == ["1.1.zip", "2.1.zip"]


def test_a_full_disk_of_the_server_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str, chunks: Iterable[bytes]) -> int:
        next(iter(chunks))
        raise UnavailableError(f"{name} cannot be stored: [Errno 28] No space left on device")

    monkeypatch.setattr(lab.service.blobs, "put", full)
    lab.submit(f"{WRITE}; head -c 60000000 /dev/urandom > big")
    wait_until(lambda: lab.state(1) == "complete")
    document = lab.run(1)
    assert document["cause"] == "outputs_lost"
    assert "the 3 files it wrote (60,000,004 bytes) did not come back" in document["detail"]
    assert "No space left on device" in document["detail"]


def test_a_lost_output_does_not_hide_the_objective(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str, chunks: Iterable[bytes]) -> int:
        raise UnavailableError(f"{name} cannot be stored")

    monkeypatch.setattr(lab.service.blobs, "put", full)
    lab.submit(f'{WRITE}; echo \'{{"name": "m", "value": 2}}\' >> $AUGURY_METRICS', metric="m")
    wait_until(lambda: lab.state(1) == "complete")
    assert (lab.run(1)["objective"], lab.run(1)["cause"]) == (2.0, "outputs_lost")


def _below(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in children for one in (int(child), *_below(int(child)))]
