"""A server in this process, as on a cluster: Valkey of its own, SQLite or PostgreSQL, workers beside it."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from augury.local.broker import find_binary
from augury.server.app import build
from augury.server.service import Service
from augury.server.settings import Settings
from augury.spec import Command, SearchSpec, ValueSpec
from augury.store import runs, searches
from augury_workers import protocol
from augury_workers.protocol import Secret, parse_secrets
from tests.support.postgres import Postgres


class Door:
    """The HTTP door of a server, in a thread."""

    def __init__(self, service: Service, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        config = uvicorn.Config(build(service), log_level="warning", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listening],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)

    def close(self) -> None:
        """End it; closing it again does nothing."""
        self._server.should_exit = True
        self._thread.join(10)
        self._listening.close()


NOBODY = "http://127.0.0.1:9"


@dataclass
class Cluster:
    """One broker, one database, one key; servers and workers come and go."""

    folder: Path
    database_url: str
    secret: Secret
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    older_secrets: list[Secret] = field(default_factory=list)
    doors: list[Door] = field(default_factory=list)
    url: str = NOBODY
    """Of the server's HTTP door; nobody is there before `listen`."""

    @property
    def redis_url(self) -> str:
        return f"unix://{self.folder}/valkey.sock?db=0"

    def serve(self) -> Service:
        keys = (self.secret, *self.older_secrets)
        blobs = str(self.folder / "blobs")
        service = Service(Settings(self.redis_url, keys, self.database_url, self.folder, "main", blobs))
        service.start()
        self.services.append(service)
        return service

    def listen(self, service: Service) -> str:
        """Open a server's HTTP door; return a user's token. It is found at `url` after a restart too."""
        port = int(self.url.rpartition(":")[2]) if self.url != NOBODY else 0
        self.doors.append(Door(service, port))
        self.url = self.doors[-1].url
        return service.make_local_token()

    def use_key(self, text: str) -> None:
        """Give the servers that start from now on this secret file."""
        (self.folder / "secret").write_text(text)
        self.secret, *self.older_secrets = parse_secrets(text)

    def worker(
        self,
        machine_type: str,
        slots: int,
        name: str = "",
        secret: str = "secret",
        version: int = protocol.VERSION,
        log: Path = Path(os.devnull),
    ) -> subprocess.Popen[bytes]:
        code = f"from augury_workers import main, protocol; protocol.VERSION = {version}; exit(main.main())"
        start = ["-m", "augury_workers"] if version == protocol.VERSION else ["-c", code]
        words = [sys.executable, *start, "--machine-type", machine_type, "--slots", str(slots)]
        process = subprocess.Popen(
            [*words, "--name", name or machine_type.lower(), "--state-dir", str(self.folder / "worker")],
            env=os.environ
            | {
                "AUGURY_REDIS_URL": self.redis_url,
                "AUGURY_SECRET_FILE": str(self.folder / secret),
                "AUGURY_URL": self.url,
            },
            stderr=log.open("wb"),
            stdout=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for door in self.doors:
            door.close()
        for service in self.services:
            service.stop()
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(params=["sqlite", "postgresql"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster without a server and without workers."""
    with tempfile.TemporaryDirectory(prefix="augury-cluster-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'store.db'}"
        if request.param == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = server.url(server.create_database())
        (folder / "secret").write_text(f"k1 {base64.b64encode(os.urandom(32)).decode()}\n")
        (folder / "secret").chmod(0o600)
        made = Cluster(folder, url, parse_secrets((folder / "secret").read_text())[0])
        valkey = [
            str(find_binary(os.environ)),
            "--port",
            "0",
            "--unixsocket",
            f"{folder}/valkey.sock",
            "--save",
            "",
        ]
        made.processes.append(subprocess.Popen(valkey, cwd=folder, stdout=subprocess.DEVNULL))
        wait_until((folder / "valkey.sock").exists)
        yield made
        made.end()


def grid(count: int, command: str = "true :a:", **fields: Any) -> SearchSpec:
    """Return a grid of `count` runs."""
    space = {"a": ValueSpec(tuple(range(count)))}
    return SearchSpec("grid", Command(shell=command), space, **{"cwd": "/"} | fields)


def states(service: Service, search_id: int) -> list[str]:
    """Return the states of the runs of a search."""
    with service.store.read() as connection:
        return [run.state for run in runs.of_search(connection, search_id)]


def search_state(service: Service, search_id: int) -> str:
    """Return the state of a search."""
    with service.store.read() as connection:
        return searches.get(connection, search_id).state


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
    """Return as soon as `condition` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s")
        time.sleep(0.02)
