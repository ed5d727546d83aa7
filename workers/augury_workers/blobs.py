# ruff: noqa: PTH103, PTH105, PTH108, PTH120, PTH123
# Paths are plain strings here, as the system calls take them.
"""The worker's door to files that are kept whole, by name: snapshots of code come in, outputs go out.

On the local instance they lie in a folder that the (signed) order names; on a cluster the server hands them
out and takes them over HTTP, to an attempt that holds its run and signs with the key file. Every method
blocks: call it in a thread, `abort` from any other. Imported when an attempt first needs it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from typing import Protocol
from urllib.parse import urlsplit

from augury_workers import protocol

ROUTES = "/api/v1/worker/"
"""Below it the server lets attempts in."""

CHUNK_BYTES = 256 * 1024
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""The longest silence of a server, here or while it stores."""


class UnreachableError(Exception):
    """The store of files does not answer, or not now: the same call may succeed later."""


class RefusedError(Exception):
    """The store of files refuses, and will refuse again; the text is one sentence for the user."""


class Door(Protocol):
    """Reaches the store of files for one attempt.

    All raise `UnreachableError` and `RefusedError`. What the reading of `chunks` raises is raised as it is,
    as is the `OSError` of a disk of this machine that cannot be written.
    """

    def fetch(self, name: str, target: str) -> int:
        """Write the blob to the file `target`, made anew, and return its size in bytes."""

    def store(self, name: str, chunks: Iterable[bytes]) -> int:
        """Keep the bytes of `chunks` as the blob, whole or not at all, and return how many they are."""

    def abort(self) -> None:
        """End the call that is under way, and every later one, by `UnreachableError`."""


def open_door(folder: str | None, url: str | None, origin: str, secret: protocol.Secret) -> Door:
    """Return the door to `folder` (of the order), or to the server at `url` (of AUGURY_URL) where it is None.

    `origin` is who asks (`protocol.report_origin`) and `secret` the key to sign with.

    Raises:
        RefusedError: neither is there, or the URL is none.
    """
    if folder is not None:
        return FolderDoor(folder)
    if not url:
        raise RefusedError("the worker cannot fetch files: AUGURY_URL is not set there")
    return HttpDoor(url, origin, secret)


class FolderDoor:
    """A folder on this machine."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._aborted = threading.Event()

    def fetch(self, name: str, target: str) -> int:
        """See `Door`."""
        try:
            source = open(f"{self._folder}/{name}", "rb")  # noqa: SIM115 - opened here, closed below
        except FileNotFoundError:
            raise RefusedError(f"{name} is not in the store of files {self._folder}") from None
        except OSError as error:
            raise RefusedError(f"{name} cannot be read: {error}") from error
        size = 0
        with source, open(target, "wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                self._check()
                size += file.write(chunk)
        return size

    def store(self, name: str, chunks: Iterable[bytes]) -> int:
        """See `Door`."""
        path = f"{self._folder}/{name}"
        fresh = f"{path}.{secrets.token_hex(8)}.part"
        size = 0
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            with open(fresh, "wb") as file:
                for chunk in chunks:
                    self._check()
                    size += file.write(chunk)
            os.replace(fresh, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        return size

    def abort(self) -> None:
        """See `Door`."""
        self._aborted.set()

    def _check(self) -> None:
        if self._aborted.is_set():
            raise UnreachableError("given up")


class HttpDoor:
    """The server of a cluster, asked over HTTP or HTTPS (with the certificates that the system trusts)."""

    def __init__(self, url: str, origin: str, secret: protocol.Secret) -> None:
        parts = urlsplit(url)
        try:
            fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise RefusedError(f"AUGURY_URL of the worker is no URL of a server: {url}")
        self._parts = parts
        self._origin = origin
        self._secret = secret
        self._aborted = False
        self._socket: socket.socket | None = None

    def fetch(self, name: str, target: str) -> int:
        """See `Door`."""
        connection, route = self._connect(), _route(name)
        try:
            with self._network():
                self._request(connection, "GET", route)
                connection.endheaders()
                response = connection.getresponse()
            self._check(response, name)
            size = 0
            with open(target, "wb") as file:
                while chunk := self._read(response):
                    size += file.write(chunk)
            expected = response.headers.get("Content-Length")
            if expected is not None and size != int(expected):
                raise UnreachableError(f"{self._parts.netloc} broke off")
            return size
        finally:
            self._close(connection)

    def store(self, name: str, chunks: Iterable[bytes]) -> int:
        """See `Door`."""
        connection, route = self._connect(), _route(name)
        size = 0
        try:
            with self._network():
                self._request(connection, "PUT", route)
                connection.putheader("Transfer-Encoding", "chunked")
                connection.endheaders()
            for chunk in chunks:
                size += len(chunk)
                if chunk and not self._send(connection, b"%x\r\n%b\r\n" % (len(chunk), chunk)):
                    break
            else:
                self._send(connection, b"0\r\n\r\n")
            with self._network():
                response = connection.getresponse()
            self._check(response, name)
            return size
        finally:
            self._close(connection)

    def abort(self) -> None:
        """See `Door`."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        with self._network():
            connection.connect()
            self._socket = connection.sock
            self._socket.settimeout(ANSWER_SECONDS)
            if self._aborted:
                connection.close()
                raise UnreachableError("given up")
        return connection

    def _request(self, connection: http.client.HTTPConnection, method: str, route: str) -> None:
        connection.putrequest(method, self._parts.path.rstrip("/") + route)
        header = protocol.authorize(method, route, self._origin, self._secret)
        connection.putheader("Authorization", header)

    def _send(self, connection: http.client.HTTPConnection, data: bytes) -> bool:
        """Send; False when the server has hung up, perhaps after it has said why."""
        with self._network():
            try:
                connection.send(data)
            except (BrokenPipeError, ConnectionResetError):
                return False
        return True

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        with self._network():
            return response.read(CHUNK_BYTES)

    @contextlib.contextmanager
    def _network(self) -> Iterator[None]:
        """Tell what the network does wrong; a file's own `OSError` is never raised in here."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            text = f"the certificate of {self._parts.netloc} (AUGURY_URL) is not trusted: {error}"
            raise UnreachableError(text) from error
        except (OSError, http.client.HTTPException) as error:
            why = "given up" if self._aborted else str(error) or type(error).__name__
            raise UnreachableError(f"the server {self._parts.netloc} does not answer: {why}") from error

    def _check(self, response: http.client.HTTPResponse, name: str) -> None:
        if 200 <= response.status < 300:
            return
        with self._network():
            said = _sentence(response.read(CHUNK_BYTES)) or response.reason
        text = f"{name}: the server {self._parts.netloc} says: {said} ({response.status})"
        if response.status >= 500 or response.status in (408, 429):
            raise UnreachableError(text)
        raise RefusedError(text)

    def _close(self, connection: http.client.HTTPConnection) -> None:
        self._socket = None
        connection.close()


def _route(name: str) -> str:
    """Return the route of a blob; that of outputs names nothing, who asks says whose they are."""
    kind, _, file = name.partition("/")
    if kind == "snapshots":
        return f"{ROUTES}snapshots/{file.removesuffix('.tar.gz')}"
    return f"{ROUTES}{kind}"


def _sentence(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""
