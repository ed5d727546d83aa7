"""Start a keeper that outlives its starter: own session, clean environment, nobody's pipes.

Called by the first command that needs the instance, and by the server when it sees that its keeper is gone.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import augury
from augury.errors import UnavailableError
from augury.local import locks
from augury.local.home import Home

#: All that a keeper and its parts see of the environment of whoever started them. The last group is what an
#: interpreter may need to find itself (conda, environment modules, user installs). `AUGURY_PORTABLE`
#: and `AUGURY_NVML` are for tests: see CONTRIBUTING.md.
KEPT_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("XDG_RUNTIME_DIR", "AUGURY_HOME", "AUGURY_SLOTS", "AUGURY_VALKEY_BINARY"),
    *("AUGURY_PORTABLE", "AUGURY_NVML"),
    *("PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPYCACHEPREFIX", "LD_LIBRARY_PATH"),
)

#: Longest time from the start of a keeper to its holding the lock, in seconds.
LOCK_SECONDS = 10.0

#: Logs longer than this many bytes are set aside when a part starts.
LOG_LIMIT = 5_000_000


def keeper_command() -> list[str]:
    """Return the words that start a keeper; `--home DIR` follows them.

    `-P` keeps the current directory out of the import path: a user's `celery.py` must not meet ours.
    """
    return [sys.executable, "-P", "-m", "augury.local.keeper"]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of `environment` a keeper gets.

    `PYTHONPATH` is kept only if Augury itself was found through it: else it belongs to the user's code.
    """
    kept = {name: environment[name] for name in KEPT_VARIABLES if environment.get(name)}
    python_path = environment.get("PYTHONPATH", "")
    root = Path(augury.__file__).resolve().parent.parent
    if any(Path(entry).resolve() == root for entry in python_path.split(os.pathsep) if entry):
        kept["PYTHONPATH"] = python_path
    return kept


def keeper_is_alive(home: Path) -> bool:
    """Tell whether a keeper looks after the instance in `home`; costs two system calls."""
    return locks.is_held(Home(home).lock("keeper"))


def ensure_keeper(home: Path, wait: float = LOCK_SECONDS) -> None:
    """Start a keeper for `home` unless one lives, and wait up to `wait` seconds until it holds its lock.

    Safe to call from many processes and threads at once: one of them starts the keeper, and keepers
    exclude each other. With `wait=0` it returns as soon as the keeper is under way. The folder itself is
    not made (`locate` has done that): a server whose home was removed must not bring it back.

    Raises:
        UnavailableError: the keeper could not be started or ended at once; the text quotes its log.
    """
    place = Home(home)
    if keeper_is_alive(home):
        return
    if not home.is_dir():
        raise UnavailableError(f"the folder of the local instance, {home}, was removed")
    place.prepare()
    deadline = time.monotonic() + wait
    while not keeper_is_alive(home):
        starting = locks.try_lock(place.lock("start"))
        if starting is not None:
            try:
                if not keeper_is_alive(home):
                    _start(place, wait)
                return
            finally:
                os.close(starting)
        if time.monotonic() >= deadline:
            raise UnavailableError("another command is starting the local instance, without success so far")
        time.sleep(0.005)


def open_log(home: Home, part: str) -> int:
    """Open the log of `part` for appending (0600), after setting a very long one aside as `.1`."""
    path = home.log(part)
    try:
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_name(path.name + ".1"))
    except OSError:
        pass
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def last_lines(path: Path, count: int = 5) -> list[str]:
    """Return the last lines of a log that are not blank; none when there is no log."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16_384))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def last_words(home: Home, part: str = "keeper") -> str:
    """Return a sentence that names the log of `part` and quotes its end."""
    path = home.log(part)
    lines = last_lines(path)
    if not lines:
        return f"Its log {path} is empty."
    return f"The end of its log {path}:\n" + "\n".join(f"    {line}" for line in lines)


def _start(home: Home, wait: float) -> None:
    """Start a keeper and wait until it holds its lock: it then closes `ready`, and so does its death."""
    ended, ready = os.pipe()
    try:
        _spawn(home, ready)
    finally:
        os.close(ready)
    try:
        told = bool(select.select([ended], [], [], wait)[0])
    finally:
        os.close(ended)
    if wait > 0 and not keeper_is_alive(home.path):
        problem = "ended at once" if told else f"did not start within {wait:g} s"
        raise UnavailableError(f"the keeper of the local instance {problem}. {last_words(home)}")


def _spawn(home: Home, ready: int) -> None:
    """Start a keeper through a shell that leaves it behind at once.

    The keeper so becomes a child of init: it is nobody's zombie when it ends, and no tool that ends the
    processes below a terminal or a notebook finds it there.
    """
    log = open_log(home, "keeper")
    words = [*keeper_command(), "--home", str(home.path), "--ready-fd", str(ready)]
    try:
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**clean_environment(os.environ), "AUGURY_HOME": str(home.path)},
            pass_fds=(ready,),
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise UnavailableError(f"cannot start the local instance: {error}") from error
    finally:
        os.close(log)
