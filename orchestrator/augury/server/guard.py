"""What holds for every HTTP answer and request, before any route: headers, origins, forms and sizes.

It stands outside of everything else, so that answers to what goes wrong in there have the headers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of a request in JSON. Files are sent by PUT, to routes that have limits of their own."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = (
    # Names, values and lines of output are other people's text: nothing of it may become a page or a script.
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; "
     b"frame-ancestors 'none'; object-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)  # fmt: skip
_NO_STORE = (b"cache-control", b"no-store")


class _BodyTooLargeError(Exception):
    """More came than is taken."""


class Guard:
    """An application behind the rules of this module."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        answer = _Answer(send)
        refusal = _refusal(scope["method"], headers)
        if refusal is not None:
            await refusal(scope, receive, answer)
        elif scope["method"] in _READING or scope["method"] == "PUT":
            await self._app(scope, receive, answer)
        else:
            body = _Body(receive)
            try:
                await self._app(scope, body, answer.unless(body))
            except _BodyTooLargeError:
                pass
            if body.too_large:
                await _too_large()(scope, receive, answer)


class _Answer:
    """Adds the headers that an answer has not got."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            given = {name.lower() for name, _ in headers}
            headers += [pair for pair in (*_HEADERS, _NO_STORE) if pair[0] not in given]
            message = {**message, "headers": headers}
        await self._send(message)

    def unless(self, body: _Body) -> Send:
        """Return a way to send that is silent once the body was too large: then that is the answer."""

        async def send(message: Message) -> None:
            if not body.too_large:
                await self(message)

        return send


class _Body:
    """Counts the bytes of a request, and ends it when they are too many."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0
        self.too_large = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > MAX_BODY_BYTES:
            self.too_large = True
            raise _BodyTooLargeError
        return message


def _refusal(method: str, headers: Mapping[bytes, str]) -> JSONResponse | None:
    """Return the answer to a request that goes no further, None to one that does."""
    if method in _READING:
        return None
    if _is_foreign(headers):
        return _error(403, "this request comes from a page of another site: that may only look")
    size = headers.get(b"content-length", "")
    if method == "PUT":
        return None
    has_body = size not in ("", "0") or b"transfer-encoding" in headers
    kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        return _error(415, "send the body as application/json")
    if size.isdecimal() and int(size) > MAX_BODY_BYTES:
        return _too_large()
    return None


def _is_foreign(headers: Mapping[bytes, str]) -> bool:
    """Tell whether a browser sends this on behalf of another site.

    What is no browser sends neither header. Where both are there, the first decides: no script can set it,
    and behind a proxy the host may have another name than the browser knows.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site.lower() not in ("same-origin", "none")
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get(b"host", "").lower()


def _too_large() -> JSONResponse:
    return _error(413, f"a request has at most {MAX_BODY_BYTES:,} bytes")


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text, "kind": "usage" if status != 403 else "refused"}, status)
