"""The parts of a local instance: what they are called, how each is started, what must be done before."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augury.local import broker
from augury.local.home import Home
from augury.local.launch import clean_environment

BROKER, SERVER, WORKER = "valkey", "server", "worker"

#: After so many starts in a row that the broker itself gave up, its data are taken for damaged.
REFUSALS_OF_DAMAGE = 3


@dataclass(frozen=True, slots=True)
class Part:
    """What the keeper must know to run one part."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    #: How it is asked to end, more and more firmly, and how long each request has, in seconds.
    requests_to_end: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 5.0),)
    #: How long a lock that another process holds may be that of a process about to end, in seconds.
    patience: float = 0.1
    #: The kernel ends it with the keeper (Linux only): a part that must not outlive it.
    dies_with_keeper: bool = False
    #: Called before each start with the number of exits in a row with a code above 0.
    before_start: Callable[[int], None] | None = None
    #: Given only for the part that may end the whole instance, by exit code 0. It tells whether that part
    #: listens: one that ends on purpose says no before, for the exit code of an adopted one is unknown.
    listens: Callable[[], bool] | None = None


def default_parts(home: Home, environment: Mapping[str, str]) -> list[Part]:
    """Return broker, server and worker of the instance in `home`, in the order of their start.

    Raises:
        UnavailableError: there is no broker program, or no safe place for its socket.
    """
    python = [sys.executable, "-P", "-m"]
    shared = part_environment(home, environment)
    return [
        broker_part(home, environment),
        server_part(home, [*python, "augury.server", "--local", "--home", home.path], shared),
        worker_part(
            [*python, "augury_workers", "--machine-type", "local", "--state-dir", home.worker_state], shared
        ),
    ]


def part_environment(home: Home, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of server and worker: the keeper's own, and how to reach the broker."""
    return {
        **clean_environment(environment),
        "AUGURY_HOME": str(home.path),
        "AUGURY_REDIS_URL": broker.url(home.socket()),
        "AUGURY_SECRET_FILE": str(home.secret_file),
        "AUGURY_INSTANCE": "local",
        "PYTHONUNBUFFERED": "1",
    }


def broker_part(home: Home, environment: Mapping[str, str]) -> Part:
    """Return the broker. A user's locale that this machine lacks would keep a Redis from starting: C."""
    return Part(
        BROKER,
        broker.command(broker.find_binary(environment), home.socket(), home.broker_data),
        {**clean_environment(environment), "LC_ALL": "C"},
        patience=2.0,
        dies_with_keeper=True,
        before_start=lambda refusals: _prepare_broker(home, refusals),
    )


def server_part(home: Home, command: Sequence[str | Path], environment: Mapping[str, str]) -> Part:
    """Return the server: it decides about the end of the instance.

    Whoever starts it holds its lock, so no server lives and an `instance.json` found then is stale. It is
    removed: as long as the lock is held, what the file says belongs to the server that holds it.
    """
    return Part(
        SERVER,
        command,
        environment,
        before_start=lambda _: home.instance_file.unlink(missing_ok=True),
        listens=home.instance_file.exists,
    )


def worker_part(command: Sequence[str | Path], environment: Mapping[str, str]) -> Part:
    """Return the worker. SIGTERM lets it wait for its runs, SIGQUIT makes it end them and clean up."""
    return Part(WORKER, command, environment, requests_to_end=((signal.SIGTERM, 3.0), (signal.SIGQUIT, 7.0)))


def make_secret(home: Home) -> None:
    """Make the key that signs orders, once; close an existing file to others."""
    try:
        home.secret_file.chmod(0o600)
        return
    except FileNotFoundError:
        pass
    line = f"{secrets.token_hex(4)} {base64.b64encode(secrets.token_bytes(32)).decode()}\n"
    fresh = home.secret_file.with_name("secret.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(home.secret_file)


def _prepare_broker(home: Home, refusals: int) -> None:
    """Make the socket's folder again (a cleaner of /tmp may have taken it) and set damaged data aside.

    Everything in the broker can be rebuilt from the store: an append-only file that it refuses to load (a
    full disk, a crash of the machine, a newer version) must not keep the instance down.
    """
    home.socket()
    files = home.broker_data / "appendonlydir"
    if refusals == REFUSALS_OF_DAMAGE and files.exists():
        aside = home.broker_data / f"damaged-{secrets.token_hex(4)}"
        files.replace(aside)
        print(f"the broker's files look damaged: set aside as {aside}", file=sys.stderr, flush=True)
