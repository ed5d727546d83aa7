"""Requests to a server: token, strict JSON, errors of the tree, one careful second try."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from augury.client._httpx import httpx
from augury.client.connection import Address
from augury.errors import (
    UNKNOWN_TOKEN,
    AuguryError,
    NotFoundError,
    RefusedError,
    UnauthorizedError,
    UnavailableError,
    UsageError,
    WaitError,
)

PREFIX = "/api/v1"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0

ERRORS_BY_KIND: Mapping[str, type[AuguryError]] = {
    "usage": UsageError,
    "not_found": NotFoundError,
    "refused": RefusedError,
    "unauthorized": UnauthorizedError,
    "unavailable": UnavailableError,
    "wait": WaitError,
}
KINDS_BY_STATUS = {
    400: "usage",
    401: "unauthorized",
    403: "unauthorized",
    404: "not_found",
    409: "refused",
    422: "usage",
}

Query = Mapping[str, Any]


def error_of(status: int, text: str) -> AuguryError:
    """Return the error of the tree that an answer of `status` with body `text` stands for."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    message, kind = "", KINDS_BY_STATUS.get(status, "unavailable")
    if isinstance(document, dict):
        kind = str(document.get("kind") or kind)
        message = str(document.get("error") or document.get("detail") or "")
    if not message and status == 401:
        # The answer to HEAD has no body that would say so.
        message = UNKNOWN_TOKEN
    if not message:
        message = f"the server answered {status}: {text.strip()[:200] or 'nothing'}"
    return ERRORS_BY_KIND.get(kind, AuguryError)(message)


class Transport:
    """One server, found on the first request and found again when it has moved.

    `find(verify)` returns the present address; it is asked again, with `verify`, only for the local
    instance, whose port and token change when it restarts. `inner` replaces the network in tests.
    """

    def __init__(self, find: Callable[[bool], Address], inner: httpx.BaseTransport | None = None) -> None:
        self._find = find
        self._inner = inner
        self._address: Address | None = None
        self._http: httpx.Client | None = None

    @property
    def address(self) -> Address:
        """The server's address; the first use finds (and locally starts) it."""
        if self._address is None:
            self._address = self._find(False)
        return self._address

    def sibling(self) -> Transport:
        """Return another transport to the same server, for another thread."""
        return Transport(self._find, self._inner)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        repeatable: bool | None = None,
    ) -> Any:
        """Send one request and return its decoded JSON.

        `repeatable` says that doing it twice is doing it once (default: GET only). A request of which
        nothing was sent is tried once more in any case, at the address the local instance has by then.

        Raises:
            AuguryError: the class that fits the server's answer; `UnavailableError` when there is none.
        """
        return _decoded(self._answer(method, path, query, body, repeatable))

    def exists(self, path: str) -> bool:
        """Ask for the headers of something; False when it is not there. Raises as `request`."""
        response = self._answer("HEAD", path, None, None, repeatable=True)
        if response.status_code >= 400 and response.status_code != 404:
            # An answer to HEAD has no sentence; what keeps one request from being done keeps all.
            self.request("GET", "/status")
            raise error_of(response.status_code, "")
        return response.status_code != 404

    def upload(self, path: str, chunks: Iterator[bytes], size: int) -> Any:
        """Put `size` bytes and return the decoded answer; never tried twice. Raises as `request`."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        try:
            response = self._client().put(PREFIX + path, content=chunks, headers=headers)
        except httpx.TransportError as error:
            raise self._unavailable(error) from error
        return _decoded(response)

    def _answer(
        self, method: str, path: str, query: Query | None, body: Any, repeatable: bool | None
    ) -> httpx.Response:
        """Send a request, and again where that is safe and may help."""
        repeatable = method == "GET" if repeatable is None else repeatable
        try:
            response = self._send(method, path, query, body)
        except httpx.ConnectError as error:
            # Nothing was sent. A local instance has been found (or started) anew when `_moved` returns.
            if not self._is_local:
                raise self._unavailable(error) from error
            self._moved()
            response = self._send_again(method, path, query, body)
        except httpx.TransportError as error:
            if not repeatable or isinstance(error, httpx.TimeoutException):
                raise self._unavailable(error, maybe_done=not repeatable) from error
            self._moved()
            response = self._send_again(method, path, query, body)
        if response.status_code == 401 and self._moved():
            response = self._send_again(method, path, query, body)
        return response

    def lines(self, path: str, query: Query, read_seconds: float) -> Iterator[str]:
        """Yield the lines of a streamed answer; `read_seconds` of silence end it.

        Raises:
            AuguryError: as `request`; a broken or silent stream is an `UnavailableError`.
        """
        with self._stream(path, query, read_seconds) as response:
            yield from response.iter_lines()

    def pieces(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of an answer as they come.

        Raises:
            AuguryError: as `request`; an answer that breaks off is an `UnavailableError`.
        """
        with self._stream(path, {}, ANSWER_SECONDS) as response:
            yield from response.iter_bytes()

    @contextmanager
    def _stream(self, path: str, query: Query, read_seconds: float) -> Iterator[httpx.Response]:
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=read_seconds)
        try:
            with self._client().stream(
                "GET", PREFIX + path, params=_query(query), timeout=timeout
            ) as response:
                if response.status_code >= 400:
                    response.read()
                    _decoded(response)
                yield response
        except httpx.TransportError as error:
            if isinstance(error, httpx.ConnectError):
                self._moved()
            raise self._unavailable(error) from error

    def _client(self) -> httpx.Client:
        if self._http is None:
            address = self.address
            # Loopback needs neither proxies nor certificates, and loading those takes tens of milliseconds.
            plain = address.url.startswith("http://")
            self._http = httpx.Client(
                base_url=address.url,
                headers={"Authorization": f"Bearer {address.token}"},
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                trust_env=not address.local,
                verify=not plain,
                transport=self._inner,
            )
        return self._http

    def _send(self, method: str, path: str, query: Query | None, body: Any) -> httpx.Response:
        # ASCII with escapes: a variable or file name that is no valid UTF-8 survives as a lone surrogate.
        content = None if body is None else json.dumps(body, allow_nan=False).encode("ascii")
        headers = {} if body is None else {"Content-Type": "application/json"}
        url = PREFIX + path
        return self._client().request(method, url, params=_query(query), content=content, headers=headers)

    def _send_again(self, method: str, path: str, query: Query | None, body: Any) -> httpx.Response:
        try:
            return self._send(method, path, query, body)
        except httpx.TransportError as error:
            raise self._unavailable(error) from error

    @property
    def _is_local(self) -> bool:
        return self._address is not None and self._address.local

    def _moved(self) -> bool:
        """Find a local instance anew; whether it is worth asking it again."""
        if self._address is None or not self._address.local:
            return False
        before = self._address
        self.close()
        self._address = self._find(True)
        return self._address != before

    def _unavailable(self, error: Exception, maybe_done: bool = False) -> UnavailableError:
        url = self._address.url if self._address else "the server"
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return UnavailableError(f"cannot reach {url}: {error}. Check AUGURY_URL, or run: augury doctor")
        text = f"the connection to {url} broke: {error or type(error).__name__}"
        if isinstance(error, httpx.TimeoutException):
            text = f"{url} did not answer in time"
        if maybe_done:
            text += ". It may have been done all the same: look at `augury hyper list` and `augury ps` first"
        return UnavailableError(text)


def _query(query: Query | None) -> dict[str, Any]:
    for name, value in (query or {}).items():
        # What is no UTF-8 on a command line arrives as lone surrogates.
        if isinstance(value, str) and not value.isascii() and re.search("[\ud800-\udfff]", value):
            raise UsageError(f"{name} {value!r} is not valid UTF-8")
    return {name: value for name, value in (query or {}).items() if value is not None}


def _decoded(response: httpx.Response) -> Any:
    if response.status_code >= 400:
        raise error_of(response.status_code, response.text)
    try:
        return response.json()
    except ValueError as error:
        raise UnavailableError(f"{response.url} did not answer with JSON: is it an Augury server?") from error
