"""The process around a service: it listens, serves HTTP, and ends when it is asked to or idle."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import uvicorn

from augury import __version__
from augury.errors import UsageError
from augury.local import ensure_keeper, keeper_is_alive
from augury.private_file import write_private
from augury.server.app import build
from augury.server.guard import Guard
from augury.server.service import Service

IDLE_SECONDS = 1800.0
_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address; port 0 takes any.

    Raises:
        UsageError: the address is taken, or not of this machine.
    """
    try:
        family, _, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio turns Nagle's algorithm off: else answers wait 40 ms for an ACK.
        listening = socket.socket(family, socket.SOCK_STREAM, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise UsageError(f"--listen: {host}:{port} cannot be used: {error.strerror or error}") from error
    return listening


def serve(
    service: Service, listening: socket.socket, hosts: Collection[str], ready: Callable[[], None]
) -> None:
    """Serve until asked to end; `ready` is called once requests are answered."""
    gc.freeze()  # what was imported stays: not to be looked through again and again
    app = build(service, hosts)
    config = uvicorn.Config(
        Guard(app), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    server = _Server(config, service, ready)
    app.state.end = server.end
    server.run(sockets=[listening])


def write_instance(service: Service, url: str) -> None:
    """Write `instance.json` (0600): where the local server is and the token of its user."""
    document = {
        "url": url,
        "token": service.make_local_token(),
        "version": __version__,
        "pid": os.getpid(),
        "started_at": service.started_at,
    }
    write_private(service.settings.home / "instance.json", json.dumps(document))


class _Server(uvicorn.Server):
    """Says that it listens once it does, and ends when asked or idle."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
        if self._service.settings.local:
            threading.Thread(target=self._watch, name="watch", daemon=True).start()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End politely on SIGTERM and SIGINT; uvicorn's own way would raise them again afterwards."""
        previous = {
            number: signal.signal(number, lambda *_: self.end()) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def end(self) -> None:
        """Ask the process to end."""
        self.should_exit = True

    def _watch(self) -> None:
        """End when idle; bring the keeper back when it was killed."""
        home = self._service.settings.home
        while not self.should_exit:
            try:
                if self._service.idle_seconds() > IDLE_SECONDS:
                    self.end()
                elif not keeper_is_alive(home):
                    ensure_keeper(home, wait=0)
            except Exception:  # noqa: BLE001 - the thread must live on; it looks again in a second
                _log.exception("a look at the instance failed")
            time.sleep(_LOOK_SECONDS)
