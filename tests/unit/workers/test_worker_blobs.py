"""The worker's door to the store of files: a folder on the local instance, the server on a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from augury_workers import protocol
from augury_workers.blobs import FolderDoor, HttpDoor, RefusedError, UnreachableError, open_door

SECRET = protocol.Secret("k1", b"x" * 32)
ORIGIN = protocol.report_origin(7, 1, "aa")
SNAPSHOT, OUTPUTS = "snapshots/abc.tar.gz", "outputs/7.1.zip"


class _Handler(BaseHTTPRequestHandler):
    """Keeps what is put, hands out what `server.files` holds; paths below /odd misbehave."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        files: dict[str, bytes] = self.server.files  # type: ignore[attr-defined]
        if self._forbidden("GET"):
            return
        body = files.get(self._path())
        if self._path().endswith("/slow"):
            time.sleep(5)
        if body is None:
            self._answer(404, b'{"error": "no such snapshot"}')
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (self._path().endswith("/half"))))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def do_PUT(self) -> None:
        if self._forbidden("PUT"):
            return
        assert self.headers["Transfer-Encoding"] == "chunked"
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.files[self._path()] = body  # type: ignore[attr-defined]
        self._answer(200, b"{}")

    def _path(self) -> str:
        return self.path.removeprefix("/behind")

    def _forbidden(self, method: str) -> bool:
        status = self.server.status  # type: ignore[attr-defined]
        claim = protocol.parse_authorization(self.headers["Authorization"])
        if not protocol.is_authorized(method, self._path(), claim, SECRET):
            status = 401
        if status != 200:
            self.close_connection = True
            self._answer(status, b'{"error": "not now, not you"}')
        return bool(status != 200)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made.daemon_threads, made.files, made.status = True, {}, 200
    made.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def _http(server: Any, path: str = "") -> HttpDoor:
    door = open_door(None, server.url + path, ORIGIN, SECRET)
    assert isinstance(door, HttpDoor)
    return door


def test_a_snapshot_comes_from_the_server_and_outputs_go_there(server: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    server.files["/api/v1/worker/snapshots/abc"] = content
    assert _http(server, "/behind/").fetch(SNAPSHOT, str(tmp_path / "a")) == len(content)
    assert (tmp_path / "a").read_bytes() == content
    assert _http(server).store(OUTPUTS, iter([b"one", b"", content])) == len(content) + 3
    assert server.files["/api/v1/worker/outputs"] == b"one" + content


def test_the_folder_of_a_local_instance_does_the_same(tmp_path: Path) -> None:
    door = open_door(str(tmp_path / "blobs"), "http://not.asked", ORIGIN, SECRET)
    assert isinstance(door, FolderDoor)
    assert door.store(SNAPSHOT, [b"one", b"two"]) == 6
    assert door.fetch(SNAPSHOT, str(tmp_path / "a")) == 6
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    with pytest.raises(RefusedError, match=r"outputs/7\.1\.zip is not in the store"):
        door.fetch(OUTPUTS, str(tmp_path / "b"))


def test_a_blob_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        FolderDoor(str(tmp_path)).store(OUTPUTS, broken())
    assert list((tmp_path / "outputs").iterdir()) == []


def test_what_reading_the_chunks_raises_is_not_taken_for_the_network(server: Any) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        _http(server).store(OUTPUTS, broken())
    assert server.files == {}


def test_a_refusal_is_told_from_an_absence(server: Any, tmp_path: Path) -> None:
    target = str(tmp_path / "a")
    with pytest.raises(RefusedError, match=r"snapshots/abc.*no such snapshot \(404\)"):
        _http(server).fetch(SNAPSHOT, target)
    server.status = 503
    for _ in range(2):
        with pytest.raises(UnreachableError, match="not now, not you"):
            _http(server).fetch(SNAPSHOT, target)
    with pytest.raises(UnreachableError, match="not now, not you"):
        _http(server).store(OUTPUTS, [b"x" * 100_000] * 100)
    server.status = 200
    wrong = open_door(None, server.url, ORIGIN, protocol.Secret("k1", b"y" * 32))
    with pytest.raises(RefusedError, match="401"):
        wrong.fetch(SNAPSHOT, target)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9 does not answer"):
        open_door(None, "http://127.0.0.1:9", ORIGIN, SECRET).fetch(SNAPSHOT, target)


def test_an_answer_that_breaks_off_is_no_answer(server: Any, tmp_path: Path) -> None:
    server.files["/api/v1/worker/snapshots/half"] = b"half of it"
    with pytest.raises(UnreachableError, match="broke off"):
        _http(server).fetch("snapshots/half.tar.gz", str(tmp_path / "a"))


def test_a_call_under_way_is_aborted_from_another_thread(server: Any, tmp_path: Path) -> None:
    door = _http(server)
    threading.Timer(0.2, door.abort).start()
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="given up"):
        door.fetch("snapshots/slow.tar.gz", str(tmp_path / "a"))
    assert time.monotonic() - begun < 3
    with pytest.raises(UnreachableError, match="given up"):
        door.fetch("snapshots/slow.tar.gz", str(tmp_path / "a"))


@pytest.mark.parametrize("url", ["ftp://host", "http://", "host:8800", "http://host:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(RefusedError, match="AUGURY_URL"):
        open_door(None, url, ORIGIN, SECRET)
    with pytest.raises(RefusedError, match="AUGURY_URL is not set"):
        open_door(None, None, ORIGIN, SECRET)
