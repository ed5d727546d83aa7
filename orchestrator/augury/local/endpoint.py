"""The way of every command to the local instance: its address, starting it, ending it.

`connect` costs a command two file reads while the instance lives. What `instance.json` says is believed only
while the server's lock is held: a stale file (a killed server, a crash of the machine) is seen at once, and
no token is ever sent to a stranger who listens on the old port.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from augury.errors import RefusedError, UnavailableError
from augury.local import locks
from augury.local.home import Home, Notify, locate, own_version
from augury.local.launch import ensure_keeper, keeper_is_alive, last_words

#: Longest time until the instance answers, in seconds.
START_SECONDS = 30.0

#: Silence before a command says that it is starting the instance, in seconds.
QUIET_SECONDS = 0.5

#: Longest time from the request to end until everything has ended, in seconds.
END_SECONDS = 15.0

#: Longest time from the start of a server to its listening that `down` waits for, in seconds.
LISTEN_SECONDS = 5.0

#: A part that failed so often in a row while a command waits for it will not come up.
HOPELESS_FAILURES = 4

#: So many keepers may end under one waiting command (the last of an instance that was just ending is one).
KEEPERS_TRIED = 3

#: Limits of one small request, in seconds.
PING_SECONDS, SHUTDOWN_SECONDS = 2.0, 10.0

_NOT_RUNNING = "no local instance is running: `augury up` starts one"

_POLL = 0.01
_PARTS = ("server", "worker", "valkey")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a local instance's server, and who it is."""

    url: str
    token: str
    version: str
    pid: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to a small request."""

    status: int
    body: dict[str, Any]


def read(home: Path) -> Endpoint | None:
    """Return what `instance.json` says; None when it is missing or cannot be understood."""
    try:
        found = json.loads(Home(home).instance_file.read_bytes())
        return Endpoint(str(found["url"]), str(found["token"]), str(found["version"]), int(found["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def current(home: Path) -> Endpoint | None:
    """Return the endpoint of the server that lives now; None when there is none or it does not listen yet."""
    return read(home) if locks.is_held(Home(home).lock("server")) else None


def connect(start: bool = True, notify: Notify | None = None, verify: bool = False) -> Endpoint:
    """Return the endpoint of the local instance, starting the instance when there is none.

    Without `verify` a living server is believed to answer: a command calls again with `verify=True` when
    its first request finds nobody. Safe to call from many processes at once.

    Args:
        start: False never starts an instance, but waits for one whose server is just being started again.
        notify: called with one line for people when the start takes longer than half a second.
        verify: ask the server for its status, and see to it that it answers.

    Raises:
        UnavailableError: no instance (`start=False`), or it does not come up within 30 s.
        RefusedError: the instance is of another version of Augury and busy.
    """
    home = locate(notify=notify, make=start).path
    endpoint = current(home)
    mine = endpoint is not None and endpoint.version == own_version()
    if endpoint is not None and mine and (not verify or answers(endpoint)):
        return endpoint
    if not start:
        if endpoint is not None and not mine:
            raise RefusedError(_other_version(endpoint) + " `augury up` replaces it when it is idle.")
        if endpoint is None and not keeper_is_alive(home):
            raise UnavailableError(_NOT_RUNNING)
    return _Wait(home, notify, start).until_it_answers()


def up(notify: Notify | None = None) -> Endpoint:
    """Return the endpoint of a local instance that has just answered; see `connect`."""
    return connect(verify=True, notify=notify)


def down(force: bool = False, notify: Notify | None = None) -> bool:
    """End the local instance and wait until nothing of it is left; False when nothing ran.

    Args:
        force: end it even when runs are in flight or the server does not answer.
        notify: called with one line for people.

    Raises:
        RefusedError: runs are in flight; the text of the server names them.
        UnavailableError: the server does not answer, or something still lives after 15 s.
    """
    home = Home(locate(notify=notify, make=False).path)
    if not _living(home):
        if notify is not None:
            notify("no local instance is running")
        return False
    endpoint = _wait_for_listener(home)
    answer = None if endpoint is None else _shut_down(endpoint, force)
    if answer is not None and answer.status == 409 and not force:
        raise RefusedError(str(answer.body.get("error", "runs are in flight")))
    if answer is None or answer.status >= 300:
        if not force:
            raise UnavailableError(
                "the local instance does not answer: `augury down --force` ends it with all its runs"
            )
        _signal(home, "keeper", signal.SIGTERM)
    elif notify is not None and (running := int(answer.body.get("running") or 0)):
        runs = "1 run is" if running == 1 else f"{running} runs are"
        notify(f"{runs} ended while under way: at the next start they start from their beginning")
    _wait_for_end(home, endpoint, force)
    if force:
        _kill_all(home)
    if left := _living(home):
        raise UnavailableError(f"still alive after {END_SECONDS:g} s: {', '.join(left)}")
    return True


def answers(endpoint: Endpoint) -> bool:
    """Tell whether the server answers a request for its status within 2 s."""
    answer = request(endpoint, "GET", "/api/v1/status")
    return answer is not None and answer.status == 200


def request(
    endpoint: Endpoint,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    timeout: float = PING_SECONDS,
) -> Answer | None:
    """Send one small request; None when there is no answer within `timeout` seconds.

    The HTTP client is imported here: the way of a warm command never needs it.
    """
    client = importlib.import_module("http.client")
    address = urlsplit(endpoint.url)
    connection = client.HTTPConnection(address.hostname, address.port, timeout=timeout)
    headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        found = json.loads(response.read() or b"{}")
        return Answer(response.status, found if isinstance(found, dict) else {})
    except (OSError, ValueError, client.HTTPException):
        return None
    finally:
        connection.close()


class _Wait:
    """One command's wait for an instance that answers."""

    def __init__(self, home: Path, notify: Notify | None, may_start: bool) -> None:
        self._home = Home(home)
        self._may_start = may_start
        self._notify = notify
        self._began = time.monotonic()
        self._keepers = 0
        self._asked_to_end: set[int] = set()

    def until_it_answers(self) -> Endpoint:
        """Return the server's endpoint once it answers, starting a keeper where there is none."""
        while True:
            endpoint = current(self._home.path)
            if endpoint is None or endpoint.pid in self._asked_to_end:
                self._see_to_keeper()
            elif endpoint.version != own_version():
                self._replace(endpoint)
            elif answers(endpoint):
                return endpoint
            else:
                self._see_to_keeper()
            self._check_time()
            time.sleep(_POLL)

    def _see_to_keeper(self) -> None:
        if keeper_is_alive(self._home.path):
            self._give_up_if_hopeless()
            return
        if not self._may_start:
            raise UnavailableError(_NOT_RUNNING)
        self._keepers += 1
        if self._keepers > KEEPERS_TRIED:
            raise UnavailableError(f"the local instance ends as soon as it starts. {last_words(self._home)}")
        ensure_keeper(self._home.path)
        importlib.import_module("http.client")  # ready when the server is: the first `answers` needs it

    def _replace(self, endpoint: Endpoint) -> None:
        """Ask an instance of another version to end; it refuses when it is busy."""
        answer = _shut_down(endpoint, force=False)
        if answer is not None and answer.status >= 300:
            reason = answer.body.get("error", f"it answered {answer.status}")
            raise RefusedError(
                f"{_other_version(endpoint)} It is busy: {reason}. Wait until it is idle, or end it with "
                "`augury down --force`."
            )
        if answer is not None:
            self._asked_to_end.add(endpoint.pid)

    def _give_up_if_hopeless(self) -> None:
        """Do not wait 30 s for a part that fails at each start."""
        for name, part in parts_report(self._home).items():
            if part["failures"] >= HOPELESS_FAILURES and part["state"] == "waiting" and name != "worker":
                raise UnavailableError(
                    f"the local instance's {name} does not start ({part['last_end']}, {part['failures']} "
                    f"times). {last_words(self._home, name)}"
                )

    def _check_time(self) -> None:
        waited = time.monotonic() - self._began
        if waited > QUIET_SECONDS and self._notify is not None:
            self._notify("starting the local instance...")
            self._notify = None
        if waited > START_SECONDS:
            raise UnavailableError(
                f"the local instance does not answer after {START_SECONDS:g} s (see `augury doctor`). "
                f"{last_words(self._home, 'server')}"
            )


def parts_report(home: Home) -> dict[str, dict[str, Any]]:
    """Return what the keeper last wrote of its parts, by name; empty without a keeper."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(home.keeper_file.read_bytes())["parts"]
    except (OSError, ValueError, KeyError):
        return {}
    return found


def _shut_down(endpoint: Endpoint, force: bool) -> Answer | None:
    return request(endpoint, "POST", "/api/v1/shutdown", {"force": force}, SHUTDOWN_SECONDS)


def _wait_for_listener(home: Home) -> Endpoint | None:
    """Return the endpoint of a server that lives, giving one that has just started time to listen."""
    deadline = time.monotonic() + LISTEN_SECONDS
    while (endpoint := current(home.path)) is None and time.monotonic() < deadline:
        if not locks.is_held(home.lock("server")):
            return None
        time.sleep(_POLL)
    return endpoint


def _wait_for_end(home: Home, asked: Endpoint | None, force: bool) -> None:
    """Wait until nothing lives. A server that fell over while ending is started again: ask that one too."""
    deadline = time.monotonic() + END_SECONDS
    while _living(home) and time.monotonic() < deadline:
        endpoint = current(home.path)
        if endpoint is not None and (asked is None or endpoint.pid != asked.pid):
            _shut_down(endpoint, force)
            asked = endpoint
        time.sleep(_POLL)


def _other_version(endpoint: Endpoint) -> str:
    return f"The local instance runs Augury {endpoint.version}, this is {own_version()}."


def _living(home: Home) -> list[str]:
    """Return who holds a lock of the instance, with pids where they are known."""
    found = []
    for name in ("keeper", *_PARTS):
        if locks.is_held(home.lock(name)):
            pid = locks.holder(home.lock(name))
            found.append(f"{name} (pid {pid})" if pid else name)
    return found


def _signal(home: Home, name: str, number: signal.Signals) -> None:
    pid = locks.holder(home.lock(name))
    if pid is not None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _kill_all(home: Home) -> None:
    """Kill what did not end.

    The keeper first, for it would start the others again; then the server, which would start a keeper.
    Several rounds, in case one of them was quicker.
    """
    for _ in range(50):
        if not _living(home):
            return
        for name in ("keeper", *_PARTS):
            _signal(home, name, signal.SIGKILL)
        time.sleep(0.1)
