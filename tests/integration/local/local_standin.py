"""Stand-ins for the server and the worker, so that the keeper is tested apart from them.

One file, four programs: keeper, server, worker, and `connect`, a command that needs the instance. Files in
the home folder steer the stand-in server: `busy` (refuses to end), `version` (what it says it is), `crash`
(cannot start), `deaf` (listens but never answers).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from augury.errors import AuguryError
from augury.local import keeper, launch
from augury.local.endpoint import connect
from augury.local.home import Home, own_version
from augury.local.parts import Part, broker_part, part_environment, server_part, worker_part

COMMAND = [sys.executable, "-P", __file__]


def keeper_command() -> list[str]:
    return [*COMMAND, "keeper"]


def standin_parts(home: Home, environment: Mapping[str, str]) -> list[Part]:
    shared = part_environment(home, environment)
    return [
        broker_part(home, environment),
        server_part(home, [*COMMAND, "server", str(home.path)], shared),
        worker_part([*COMMAND, "worker", str(home.path)], shared),
    ]


class Handler(BaseHTTPRequestHandler):
    """Answers `status` and `shutdown`."""

    home: Home
    token: str
    version: str
    ended: threading.Event

    def answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def allowed(self) -> bool:
        if (self.home.path / "deaf").exists():
            time.sleep(60)
        if self.headers.get("Authorization") == f"Bearer {self.token}":
            return True
        self.answer(401, {"error": "no", "kind": "unauthorized"})
        return False

    def do_GET(self) -> None:
        if self.allowed():
            workers = [{"name": "local", "slots": 2}]
            self.answer(200, {"version": self.version, "environment": dict(os.environ), "workers": workers})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        force = json.loads(self.rfile.read(length) or b"{}").get("force")
        if not self.allowed():
            return
        if (self.home.path / "busy").exists() and not force:
            self.answer(409, {"error": "run 7 is in flight", "kind": "refused"})
            return
        self.answer(200, {})
        self.ended.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(home: Home) -> int:
    if (home.path / "crash").exists():
        print("FATAL: the store is of a newer version", file=sys.stderr)
        return 1
    version_file = home.path / "version"
    Handler.home, Handler.token, Handler.ended = home, secrets.token_hex(8), threading.Event()
    Handler.version = version_file.read_text() if version_file.exists() else own_version()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    entry = {
        "url": f"http://127.0.0.1:{server.server_port}",
        "token": Handler.token,
        "version": Handler.version,
        "pid": os.getpid(),
    }
    fresh = home.path / "instance.new"
    fresh.write_text(json.dumps(entry))
    fresh.replace(home.instance_file)
    while not Handler.ended.wait(0.25):
        if not launch.keeper_is_alive(home.path):
            with contextlib.suppress(AuguryError):
                launch.ensure_keeper(home.path, wait=0)
    home.instance_file.unlink(missing_ok=True)
    return 0


def work(home: Home) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        time.sleep(3600)


def main() -> int:
    launch.keeper_command = keeper_command
    role, rest = sys.argv[1], sys.argv[2:]
    if role == "keeper":
        return keeper.main(rest, parts_of=standin_parts)
    if role == "server":
        return serve(Home(Path(rest[0])))
    if role == "worker":
        return work(Home(Path(rest[0])))
    endpoint = connect(notify=lambda text: print(text, file=sys.stderr))
    print(json.dumps({"url": endpoint.url, "pid": endpoint.pid}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
