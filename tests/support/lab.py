"""A lab of several machines on one: server, workers and laptops as processes, each with a home of its own.

With `Network`, workers and laptops sit in network namespaces beside the server's: they reach it, and each
other, only through a bridge. That needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from augury.local.broker import find_binary

PASSWORD = "sesame"


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Return as soon as `condition` is true; `what` is said when that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Network:
    """Network namespaces on a bridge: the server's own at .1, each other one behind a pair of devices."""

    def __init__(self) -> None:
        number = os.getpid() % 200 + 1
        self.host = f"10.213.{number}.1"
        self._bridge = f"augbr{number}"
        self._namespaces: list[str] = []
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.host}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def add(self, name: str) -> str:
        """Make a namespace and return its name."""
        number = len(self._namespaces) + 2
        namespace, device = f"{self._bridge}-{name}", f"{self._bridge}v{number}"
        self._namespaces.append(namespace)
        _ip("netns", "add", namespace)
        _ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", device, "master", self._bridge, "up")
        address = self.host.rpartition(".")[0] + f".{number}/24"
        for words in (("addr", "add", address, "dev", "eth0"), ("link", "set", "eth0", "up")):
            _ip("-n", namespace, *words)
        return namespace

    def remove(self) -> None:
        """Remove everything again."""
        for namespace in self._namespaces:
            _ip("netns", "del", namespace)
        _ip("link", "del", self._bridge)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Lab:
    """One server with its broker; workers and laptops come and go."""

    folder: Path
    database_url: str
    host: str = "127.0.0.1"
    port: int = 0
    redis_url: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    hidden: Sequence[Path] = ()
    """Folders that processes in namespaces do not see."""

    def start_broker(self) -> None:
        """Start Valkey, over TCP and with a password."""
        port = free_port(self.host)
        self.redis_url = f"redis://:{PASSWORD}@{self.host}:{port}/0"
        words = ["--port", str(port), "--bind", self.host, "--requirepass", PASSWORD, "--save", ""]
        home = self.home("broker")
        with (home / "log").open("wb") as log:
            command = [str(find_binary(os.environ)), *words]
            self.processes.append(subprocess.Popen(command, cwd=home, stdout=log, stderr=log))
        wait_until(lambda: _listens(self.host, port), "the broker listens")

    def home(self, name: str) -> Path:
        """Return the home folder of one machine."""
        made = self.folder / name
        made.mkdir(exist_ok=True)
        return made

    def environment(self, home: Path, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process on a machine with this home: nothing of ours."""
        base = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "COLUMNS": "120",
        }
        return base | dict(variables)

    def server_variables(self) -> dict[str, str]:
        """Return what a server has to be told."""
        return {"AUGURY_DATABASE_URL": self.database_url, "AUGURY_REDIS_URL": self.redis_url}

    def try_server(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `augury server` until it ends by itself; a variable that is "" is not set."""
        given = {name: value for name, value in (self.server_variables() | variables).items() if value}
        environment = self.environment(self.home("server"), given)
        return subprocess.run(
            ["augury", "server", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def serve(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the server and return it once it answers; what it says is in `server/log`."""
        self.port = self.port or free_port(self.host)
        process = self.start_server("server", self.port, *words)
        wait_until(lambda: "A token for each user" in self.said() or process.poll() is not None, self.said())
        assert process.poll() is None, self.said()
        return process

    def start_server(self, name: str, port: int, *words: str) -> subprocess.Popen[bytes]:
        """Start a server on the machine `name` and do not wait; what it says is in `log` there."""
        home = self.home(name)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                ["augury", "server", "--listen", f"{self.host}:{port}", *words],
                env=self.environment(home, self.server_variables()),
                cwd=home,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://{self.host}:{self.port}"

    @property
    def state(self) -> Path:
        """The server's state folder."""
        return self.folder / "server/.local/state/augury/server"

    def said(self, name: str = "server") -> str:
        """Return what the server has printed, or another machine's."""
        return (self.folder / name / "log").read_text()

    def worker(
        self,
        machine_type: str,
        slots: int,
        namespace: str | None = None,
        *,
        name: str | None = None,
        **variables: str,
    ) -> subprocess.Popen[bytes]:
        """Start a worker on a machine of its own, with a copy of the key; it says things in `log` there."""
        name = name or machine_type.lower()
        home = self.home(f"worker-{name}")
        shutil.copy(self.state / "secret", home / "augury.secret")
        settings = {
            "AUGURY_URL": self.url,
            "AUGURY_REDIS_URL": self.redis_url,
            "AUGURY_SECRET_FILE": "augury.secret",
        }
        words = ["augury", "worker", "-t", machine_type, "--slots", str(slots), "--name", name]
        with (home / "log").open("ab") as log:
            process = subprocess.Popen(
                [*self._inside(namespace), *words],
                env=self.environment(home, settings | variables),
                cwd=home,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def laptop(
        self,
        *words: str,
        user: str = "admin",
        cwd: Path | None = None,
        namespace: str | None = None,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run `augury …` as somebody with a token does."""
        home = self.home("laptop")
        token = (self.state / "token").read_text().strip()
        if user != "admin":
            token = (home / f"token-{user}").read_text()
        return subprocess.run(
            [*self._inside(namespace, hide=False), "augury", *words],
            env=self.environment(home, {"AUGURY_URL": self.url, "AUGURY_TOKEN": token} | env),
            cwd=cwd or home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ok(self, *words: str, **how: Any) -> str:
        """Run `augury …` and return what it prints."""
        done = self.laptop(*words, **how)
        assert done.returncode == 0, (
            f"augury {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def json(self, *words: str, **how: Any) -> Any:
        """Run `augury … --json` and return the value."""
        return json.loads(self.ok(*words, "--json", **how))

    def add_user(self, name: str) -> None:
        """Make a token for a user of the laptop."""
        (self.home("laptop") / f"token-{name}").write_text(self.ok("token", "create", name, "-q").strip())

    def wait_for_slots(self, slots: int) -> None:
        """Wait until the server knows of so many slots."""

        def known() -> bool:
            return sum(worker["slots"] for worker in self.json("status")["workers"]) == slots

        wait_until(known, f"{slots} slots")

    def end(self) -> None:
        """End everything, workers before the broker."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _inside(self, namespace: str | None, *, hide: bool = True) -> list[str]:
        """Return the words that put a command into a namespace, without a view of what is `hidden`."""
        if namespace is None:
            return []
        words = ["ip", "netns", "exec", namespace]
        if hide and self.hidden:
            covered = "; ".join(f"mount -t tmpfs none '{folder}'" for folder in self.hidden)
            words += ["unshare", "--mount", "sh", "-c", f'{covered}; exec "$@"', "sh"]
        return words


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
