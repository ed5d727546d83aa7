"""What is tortured: broker, server and workers as processes that are started again whenever they die."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import psutil
import psycopg2
import redis

from augury.client import Client
from augury.local.broker import find_binary
from tests.support.lab import PASSWORD, Lab, free_port, wait_until

ROOT = Path(__file__).parents[2]
MACHINE_TYPE = "K80"
Build = Literal["product", "control"]

_RESTART_SECONDS = (0.1, 1.5)
"""Between a death and the start after it, as a service manager would; shorter than the silence allowed."""


@dataclass
class Part:
    """A process that has to be there."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    due: float | None = None
    """When it is to be started again (monotonic seconds)."""
    starts: int = 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid


@dataclass
class Frozen:
    """Processes under SIGSTOP."""

    part: str
    pids: list[int]
    until: float


@dataclass
class Stand:
    """A lab in which everything may die."""

    folder: Path
    database_url: str
    build: Build
    dice: Random
    workers: int = 3
    slots: int = 2
    parts: dict[str, Part] = field(default_factory=dict)
    frozen: list[Frozen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lab = Lab(self.folder, self.database_url)
        self.traces = self.folder / "traces"
        self.traces.mkdir()

    # --- the parts ---

    def start(self) -> None:
        """Start everything and wait until all slots are known."""
        port = free_port()
        self.lab.redis_url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        self.lab.port = free_port()
        self._add("broker", lambda: self._broker(port))
        wait_until(self.broker_answers, "the broker answers")
        self._add("server", self._server)
        wait_until(lambda: "A token for each user" in self.lab.said(), "the server serves", 60)
        for number in range(self.workers):
            name = f"w{number}"
            shutil.copy(self.lab.state / "secret", self.lab.home(name) / "augury.secret")
            self._add(name, lambda name=name: self._worker(name))  # type: ignore[misc]
        self.lab.wait_for_slots(self.workers * self.slots)

    def tend(self) -> None:
        """Start again what is due, let go on what was frozen long enough."""
        now = time.monotonic()
        for part in self.parts.values():
            if part.alive:
                continue
            if part.due is None:
                part.due = now + self.dice.uniform(*_RESTART_SECONDS)
            elif now >= part.due:
                self._start(part)
        for frozen in [one for one in self.frozen if now >= one.until]:
            self.thaw(frozen)

    def thaw(self, frozen: Frozen) -> None:
        """Let frozen processes go on."""
        self.frozen.remove(frozen)
        for pid in frozen.pids:
            send(pid, signal.SIGCONT)

    def calm(self) -> None:
        """Let everything go on and be there."""
        for frozen in list(self.frozen):
            self.thaw(frozen)
        wait_until(self._all_there, "every part is up again", 60)

    def _all_there(self) -> bool:
        self.tend()
        return all(part.alive for part in self.parts.values()) and self.server_answers()

    def end(self) -> None:
        """End everything: workers first, the broker last."""
        for frozen in list(self.frozen):
            self.thaw(frozen)
        for names in (self.worker_names, ["server"], ["broker"]):
            processes = [self.parts[name].process for name in names if name in self.parts]
            for process in processes:
                if process is not None and process.poll() is None:
                    process.terminate()
            for process in processes:
                if process is not None:
                    _wait_or_kill(process)
        for pid in self.processes(b""):  # of a control build: nobody else ends them
            send(pid, signal.SIGKILL)

    @property
    def worker_names(self) -> list[str]:
        """The names of the workers."""
        return [f"w{number}" for number in range(self.workers)]

    def _add(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        part = self.parts[name] = Part(name, start)
        self._start(part)

    def _start(self, part: Part) -> None:
        part.process, part.due = part.start(), None
        part.starts += 1

    def _broker(self, port: int) -> subprocess.Popen[bytes]:
        words = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
        return self._spawn("broker", [str(find_binary(os.environ)), *words], {})

    def _server(self) -> subprocess.Popen[bytes]:
        words = ["server", "--listen", f"127.0.0.1:{self.lab.port}"]
        return self._spawn("server", self._command(words), self.lab.server_variables())

    def _worker(self, name: str) -> subprocess.Popen[bytes]:
        variables = {
            "AUGURY_URL": self.lab.url,
            "AUGURY_REDIS_URL": self.lab.redis_url,
            "AUGURY_SECRET_FILE": str(self.lab.home(name) / "augury.secret"),
        }
        words = ["worker", "-t", MACHINE_TYPE, "--slots", str(self.slots), "--name", name]
        if self.build == "control":
            words[1], words[2] = "--machine-type", MACHINE_TYPE
            words += ["--state-dir", str(self.lab.home(name) / "state")]
        return self._spawn(name, self._command(words), variables)

    def _command(self, words: list[str]) -> list[str]:
        if self.build == "product":
            return ["augury", *words]
        return [sys.executable, "-m", "tests.torture.control", *words]

    def _spawn(self, name: str, words: Sequence[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        home = self.lab.home(name)
        environment = self.lab.environment(home, variables)
        if self.build == "control":
            environment["PYTHONPATH"] = str(ROOT)
        with (home / "log").open("ab") as log:
            return subprocess.Popen(
                words, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True
            )

    # --- looking ---

    def is_frozen(self, name: str) -> bool:
        """Tell whether a part is under SIGSTOP."""
        return any(one.part == name for one in self.frozen)

    def usable(self, name: str) -> bool:
        """Tell whether a part is there and not frozen."""
        return self.parts[name].alive and not self.is_frozen(name)

    def redis(self) -> redis.Redis:
        """Return a connection to the broker, one that does not wait long."""
        return redis.Redis.from_url(self.lab.redis_url, socket_timeout=1, socket_connect_timeout=1)

    def broker_answers(self) -> bool:
        """Tell whether the broker is there."""
        with contextlib.suppress(redis.RedisError), self.redis() as connection:
            return bool(connection.ping())
        return False

    def server_answers(self) -> bool:
        """Tell whether the server is there."""
        try:
            with self.client() as client:
                client.status()
            return True
        except Exception:  # noqa: BLE001 - whatever it is, it is not there
            return False

    def client(self) -> Client:
        """Return a client of the server."""
        return Client(self.lab.url, (self.lab.state / "token").read_text().strip())

    def tree(self, name: str) -> list[psutil.Process]:
        """Return a part's process and all below it, the part first."""
        try:
            main = psutil.Process(self.parts[name].pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def supervisors(self, name: str) -> list[int]:
        """Return the supervisors of a worker."""
        return [one.pid for one in self.tree(name) if "supervisor" in _words(one)]

    def pool_children(self, name: str) -> list[int]:
        """Return the pool children of a worker: the parents of its supervisors."""
        found = set()
        for pid in self.supervisors(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(psutil.Process(pid).ppid())
        return sorted(found - {self.parts[name].pid, 1})

    def processes(self, variable: bytes) -> list[int]:
        """Return the processes of this stand in whose environment a text stands."""
        found, own = [], f"{self.folder}/".encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and own in (text := (entry / "environ").read_bytes()):
                    found += [int(entry.name)] if variable in text else []
        return found

    def replay(self, search: int, parallel_runs: int) -> str:
        """Return what of a bayesian search cannot be had again from its arrivals; empty when all can."""
        environment = self.lab.environment(self.lab.home("laptop"), {"PYTHONPATH": str(ROOT)})
        words = [
            sys.executable,
            "-m",
            "tests.torture.replay",
            self.database_url,
            str(search),
            str(parallel_runs),
        ]
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else done.stderr

    def reader(self) -> Reader:
        """Return a read-only view of the store."""
        return Reader(self.database_url)


class Reader:
    """Reads the store by plain statements; writes nothing."""

    def __init__(self, url: str) -> None:
        self._sqlite = url.startswith("sqlite:///")
        if self._sqlite:
            path = url.removeprefix("sqlite:///")
            self._connection: Any = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, timeout=10, check_same_thread=False
            )
        else:
            self._connection = psycopg2.connect(url)
            self._connection.set_session(readonly=True, autocommit=True)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]
        finally:
            cursor.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def send(pid: int, number: int) -> bool:
    """Send a signal; False when there is no such process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:5])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(45)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
