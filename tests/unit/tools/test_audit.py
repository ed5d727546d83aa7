"""What `make audit` says of vulnerable packages, of none, and without a network."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOUND = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "modified": "2026-01-01T00:00:00Z",
    "summary": "celery gives the shop away",
    "affected": [{"package": {"name": "celery", "ecosystem": "PyPI"}}],
}


class _Osv(BaseHTTPRequestHandler):
    """Knows one vulnerability of Celery, when told to."""

    vulnerable = True

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        known = [{"vulns": [FOUND]} if self._bad(query) else {} for query in queries]
        self._answer({"results": known})

    def do_GET(self) -> None:
        self._answer(FOUND)

    def _bad(self, query: Any) -> bool:
        return self.vulnerable and query["package"]["name"] == "celery"

    def _answer(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Osv)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _audit(port: int) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "tools/audit.py", "--service-url", f"http://127.0.0.1:{port}/"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_a_known_vulnerability_fails_the_gate(osv: ThreadingHTTPServer) -> None:
    done = _audit(osv.server_port)
    assert done.returncode == 1, done.stderr
    assert "GHSA-aaaa-bbbb-cccc" in done.stdout
    assert "celery" in done.stdout


def test_none_is_well(osv: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Osv, "vulnerable", False)
    assert _audit(osv.server_port).returncode == 0


def test_no_network_is_said_and_fails_nothing(osv: ThreadingHTTPServer) -> None:
    port = osv.server_port
    osv.shutdown()
    osv.server_close()
    done = _audit(port)
    assert done.returncode == 0
    assert "NOT AUDITED" in done.stdout
