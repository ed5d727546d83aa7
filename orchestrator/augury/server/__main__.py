"""`python -m augury.server --local --home DIR`: the server process of the local instance."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from augury import __version__
from augury.errors import AuguryError
from augury.local import ensure_keeper, keeper_is_alive
from augury.server import settings
from augury.server.app import build
from augury.server.service import Service

IDLE_SECONDS = 1800.0
_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Says where it listens once it does, and ends when asked or idle."""

    def __init__(self, config: uvicorn.Config, service: Service, url: str) -> None:
        super().__init__(config)
        self._service = service
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._service.settings.local:
            write_instance(self._service, self._url)
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


def write_instance(service: Service, url: str) -> None:
    """Write `instance.json` (0600): where the server is and the token of its user."""
    document = {
        "url": url,
        "token": service.make_local_token(),
        "version": __version__,
        "pid": os.getpid(),
        "started_at": service.started_at,
    }
    target = service.settings.home / "instance.json"
    fresh = target.with_suffix(f".{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(document, file)
    fresh.replace(target)


def main() -> int:
    """Run the server until it is asked to end (exit code 0)."""
    parser = argparse.ArgumentParser(prog="augury-server")
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--home", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    os.umask(0o077)
    # Before numpy is loaded: on matrices this small a second BLAS thread only costs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        service = Service(settings.read(arguments.home, local=arguments.local))
    except AuguryError as error:
        print(f"augury: {error}", file=sys.stderr)
        return 2
    service.start()
    # With the protocol named, asyncio turns Nagle's algorithm off: else answers wait 40 ms for an ACK.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind((service.settings.host, service.settings.port))
    url = f"http://{service.settings.host}:{listening.getsockname()[1]}"
    app = build(service)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    server = _Server(config, service, url)
    app.state.end = server.end
    try:
        server.run(sockets=[listening])
    finally:
        # No file is how everybody learns that this end was wanted.
        (service.settings.home / "instance.json").unlink(missing_ok=True)
        service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
