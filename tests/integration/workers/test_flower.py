"""A real Flower beside a real worker: what it shows, to whom, and that nothing is paid when it is gone."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from worker_stand import Stand, stand, wait_for

pytestmark = pytest.mark.integration

BROKER_PASSWORD = "of-the-broker"


@dataclass
class Page:
    """A Flower that runs, as a browser sees it."""

    process: subprocess.Popen[str]
    url: str
    password: str

    def get(self, path: str, password: str | None = None, method: str = "GET") -> tuple[int, str]:
        """Return status and body; `password` "" asks without any."""
        request = Request(self.url + path, method=method)
        known = self.password if password is None else password
        if known:
            login = base64.b64encode(f"augury:{known}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        try:
            with urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def tasks(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/api/tasks")[1])
        return found


def start(stand: Stand, *words: str, **variables: str) -> subprocess.Popen[str]:
    """Type `augury flower` where the broker is the stand's."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "augury.cli.main", "flower", *words],
        env={**stand.environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def flower(stand: Stand, **variables: str) -> Iterator[Page]:
    process = start(stand, "--port", "0", **variables)
    assert process.stdout is not None
    try:
        told = re.search(r"at (http://127\.0\.0\.1:\d+)$", process.stdout.readline().strip())
        assert told, process.stderr and process.stderr.read()
        login = process.stdout.readline()
        drawn = re.search(r"User: augury  password: (\S+)  \(", login)
        yield Page(process, told[1], drawn[1] if drawn else variables["AUGURY_FLOWER_PASSWORD"])
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A stand whose broker has a port and a password, as on a cluster; a worker of one slot."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with stand(tmp_path_factory.mktemp("flower"), password=BROKER_PASSWORD, port=port) as built:
        built.start_worker()
        wait_for(lambda: built.server.hellos, what="the first hello")
        yield built


@pytest.fixture(scope="module")
def page(shared: Stand) -> Iterator[Page]:
    """Flower on the shared stand."""
    with flower(shared) as shown:
        yield shown


def listening(shared: Stand, page: Page, run: int) -> None:
    """Wait until Flower hears of runs: events flow a moment after its start."""

    def heard() -> bool:
        shared.ring(next_run[0], argv=["true"])
        next_run[0] += 1
        time.sleep(0.3)
        return bool(page.tasks())

    next_run = [run]
    wait_for(heard, 20, "Flower's first run")


def test_flower_shows_runs_with_their_queue_their_state_and_their_worker(shared: Stand, page: Page) -> None:
    listening(shared, page, 100)
    shared.ring(401, shell="sleep 3")
    task = wait_for(lambda: page.tasks().get("run-401.1"), 10, "run-401.1")
    task = wait_for(lambda: (found := page.tasks()["run-401.1"])["state"] == "STARTED" and found, 5)
    assert task["name"] == "augury.run"
    assert task["routing_key"] == "k80"
    assert task["worker"] == f"k80@{socket.gethostname()}"
    assert "401" in task["kwargs"]
    task = wait_for(lambda: (found := page.tasks()["run-401.1"])["state"] == "SUCCESS" and found, 10)
    assert "'state': 'complete'" in task["result"]
    assert page.get("/task/run-401.1")[0] == page.get("/tasks")[0] == page.get("/broker")[0] == 200


def test_flower_shows_a_run_that_failed_as_a_failure(shared: Stand, page: Page) -> None:
    listening(shared, page, 200)
    shared.ring(402, shell="exit 3")
    task = wait_for(lambda: (found := page.tasks().get("run-402.1")) and found["result"] and found, 10)
    assert task["state"] == "FAILURE"
    assert task["exception"] == task["result"] == "{'run': 402, 'state': 'failed', 'exit': 3}"


def test_flower_shows_workers_and_queues(shared: Stand, page: Page) -> None:
    worker = f"k80@{socket.gethostname()}"
    found = wait_for(lambda: json.loads(page.get("/api/workers?refresh=1")[1]).get(worker), 20)
    assert [queue["name"] for queue in found["active_queues"]] == ["k80"]
    assert found["registered"] == ["augury.run"]
    assert json.loads(page.get("/api/queues/length")[1]) == {
        "active_queues": [{"name": "k80", "messages": 0}]
    }


def test_flower_refuses_everybody_without_the_password(page: Page) -> None:
    for path in ("/", "/tasks", "/workers", "/broker", "/api/tasks", "/api/workers", "/metrics"):
        assert page.get(path, "")[0] == 401, path
        assert page.get(path, "wrong")[0] == 401, path
        assert page.get(path)[0] == 200, path


def test_flower_changes_nothing(shared: Stand, page: Page) -> None:
    worker = f"k80@{socket.gethostname()}"
    for path in (
        f"/api/worker/shutdown/{worker}",
        "/api/task/revoke/run-1.1",
        "/api/task/send-task/augury.run",
    ):
        assert page.get(path, method="POST")[0] == 403, path
    assert shared.workers[0].process.poll() is None


def test_no_secret_is_in_the_process_list_or_on_a_page(page: Page) -> None:
    line = Path(f"/proc/{page.process.pid}/cmdline").read_text()
    assert "augury.dispatch.flower" in line
    shown = line + "".join(page.get(path)[1] for path in ("/broker", "/api/workers?refresh=1", "/workers"))
    assert page.password not in shown
    assert BROKER_PASSWORD not in shown


def test_flower_shows_a_worker_that_starts_after_it(shared: Stand, page: Page) -> None:
    late = shared.start_worker("--name", "late", "--machine-type", "T4")
    try:
        shared.order(900, argv=["true"])
        shared.doorbell.app.amqp.queues.add("t4", exchange="", routing_key="t4")

        def seen() -> dict[str, Any] | None:
            run = 900 + len(rung)
            rung.append(run)
            shared.order(run, argv=["true"])
            shared.doorbell.app.send_task(
                "augury.run",
                kwargs={"run": run, "token": 1},
                task_id=f"run-{run}.1",
                queue="t4",
                ignore_result=True,
            )
            time.sleep(0.5)
            return next((task for task in page.tasks().values() if task["routing_key"] == "t4"), None)

        rung: list[int] = []
        task = wait_for(seen, 30, "a run of the late worker")
        assert task["worker"] == f"late@{socket.gethostname()}"
    finally:
        late.stop()


def test_a_chosen_password_is_not_printed(shared: Stand) -> None:
    with flower(shared, AUGURY_FLOWER_PASSWORD="chosen-by-me") as shown:
        assert shown.password == "chosen-by-me"
        assert shown.get("/api/workers")[0] == 200
        shown.process.send_signal(signal.SIGTERM)
        assert shown.process.wait(10) == 0


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return exit code and error of a Flower that does not start."""
    out, error = process.communicate(timeout=30)
    assert out == ""
    assert error.count("\n") == 1, error
    return process.returncode, error


def test_what_keeps_flower_from_starting_is_one_sentence(shared: Stand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, text = ends(start(shared, "--port", port))
        assert code == 1
        assert f"cannot listen at 127.0.0.1:{port}" in text
        assert "--port" in text
    for url, words in (
        (f"redis://127.0.0.1:{port}/0", "AUGURY_REDIS_URL: the broker does not answer"),
        (
            f"redis://:wrong@127.0.0.1:{shared.valkey.port}/0",
            "AUGURY_REDIS_URL: the broker refuses its password",
        ),
    ):
        code, text = ends(start(shared, AUGURY_REDIS_URL=url))
        assert code == 1
        assert words in text
        assert "wrong@" not in text
    code, text = ends(start(shared, AUGURY_REDIS_URL="http://x"))
    assert code == 2
    assert "AUGURY_REDIS_URL: " in text
    code, text = ends(start(shared, AUGURY_FLOWER_PASSWORD="two words"))
    assert code == 2
    assert "AUGURY_FLOWER_PASSWORD" in text


def test_task_events_end_after_flower_was_killed(own: Stand) -> None:
    worker = own.start_worker()
    wait_for(lambda: any(worker.supervisors()), what="the supervisor")
    app = own.doorbell.app
    events: list[str] = []

    def flows(seconds: float) -> Callable[[], bool]:
        def look() -> bool:
            events.clear()
            own.ring(int(time.monotonic() * 1000), argv=["true"])
            end = time.monotonic() + seconds
            while not events and time.monotonic() < end:
                with suppress(TimeoutError):
                    drain.drain_events(timeout=0.1)
            return bool(events)

        return look

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"task-succeeded": lambda event: events.append(event["uuid"])}
        )
        with receiver.consumer_context() as (drain, _, _):
            assert not flows(1)()
            with flower(own) as shown:
                wait_for(flows(1), 20, "an event")
                os.kill(shown.process.pid, signal.SIGKILL)
            wait_for(lambda: not flows(2)(), 60, "the end of the events")
