"""One connection to Redis for a supervisor: batches of commands out, their replies in order.

redis-py's asyncio client costs 350 ms of CPU and 25 MB per process, and each slot has a supervisor: this
module does the little that one needs over hiredis. A call either returns all its replies or raises
`LinkError` and drops the connection; the next call connects again. Nothing is retried here: the callers
know what may be repeated.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

CONNECT_SECONDS = 5.0
REPLY_SECONDS = 10.0
"""A half-open connection is noticed after this long; blocking commands stay below it."""

Command = tuple[str | bytes | int | float, ...]
ReplyError = hiredis.ReplyError

# The stub knows commands of one word only.
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]


class LinkError(ConnectionError):
    """Redis cannot be reached, answered with nonsense or not in time."""


@dataclass(frozen=True, slots=True)
class Address:
    """What `AUGURY_REDIS_URL` says: a socket path or host and port, the login and the database."""

    path: str | None
    host: str
    port: int
    username: str | None
    password: str | None
    database: int
    tls: bool
    options: dict[str, str]


def parse_url(url: str) -> Address:
    """Read `redis://`, `rediss://` (TLS) or `unix://` with optional login, database and `ssl_*` options.

    Raises:
        ValueError: another scheme, or a port or database that is no number.
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"the scheme of '{parts.scheme}://' is not one of redis://, rediss://, unix://")
    login = (
        unquote(parts.username or "") or options.get("username"),
        unquote(parts.password or "") or options.get("password"),
    )
    database = options.get("db", "")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("unix:// needs the path of a socket, as in unix:///run/redis.sock?db=0")
        return Address(unquote(parts.path), "", 0, *login, _number(database), False, options)
    return Address(
        None,
        parts.hostname or "localhost",
        parts.port or 6379,
        *login,
        _number(database or parts.path.strip("/")),
        parts.scheme == "rediss",
        options,
    )


def _number(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal():
        raise ValueError(f"the database '{text}' is not a number")
    return int(text)


class _Wire(asyncio.Protocol):
    """Feeds what arrives to the parser and completes the one call that waits."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.transport: asyncio.Transport | None = None
        self.replies: list[Any] = []
        self.expected = 0
        self.waiter: asyncio.Future[list[Any]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.reader.feed(data)
            while len(self.replies) < self.expected:
                reply = self.reader.gets()
                if reply is False:
                    return
                self.replies.append(reply)
        except hiredis.ProtocolError as error:
            self.fail(LinkError(f"Redis answered with nonsense: {error}"))
            return
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(self.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.fail(LinkError(f"Redis closed the connection{f': {exc}' if exc else ''}"))

    def fail(self, error: LinkError) -> None:
        """End the waiting call with `error` and drop the connection."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


class Link:
    """A connection that is opened when first used and used by one call at a time."""

    def __init__(self, address: Address, name: str = "augury") -> None:
        self._address = address
        self._name = name
        self._wire: _Wire | None = None
        self._lock = asyncio.Lock()

    async def call(self, *commands: Command, timeout: float = REPLY_SECONDS) -> list[Any]:
        """Send `commands` at once and return their replies, error replies as `ReplyError` values.

        Raises:
            LinkError: no connection, or no answer within `timeout` seconds. The commands may have been done.
        """
        async with self._lock:
            if self._wire is None or self._wire.transport is None:
                self._wire = await self._connect()
            return await self._exchange(self._wire, commands, timeout)

    def close(self) -> None:
        """Drop the connection; a call that waits fails."""
        if self._wire is not None:
            self._wire.fail(LinkError("the connection was closed here"))
            self._wire = None

    async def _exchange(self, wire: _Wire, commands: tuple[Command, ...], timeout: float) -> list[Any]:
        loop = asyncio.get_running_loop()
        wire.replies, wire.expected = [], len(commands)
        wire.waiter = loop.create_future()
        late = LinkError(f"Redis did not answer within {timeout:g} s")
        timer = loop.call_later(timeout, wire.fail, late)
        assert wire.transport is not None
        wire.transport.write(b"".join([_pack(command) for command in commands]))
        try:
            return await wire.waiter
        except BaseException:
            # Unread replies would be taken for those of the next call.
            wire.fail(LinkError("the call was given up"))
            self._wire = None
            raise
        finally:
            timer.cancel()

    async def _connect(self) -> _Wire:
        address = self._address
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                wire = await _open(address)
        except (OSError, TimeoutError) as error:
            raise LinkError(f"Redis cannot be reached: {error or 'no answer'}") from error
        greetings: list[Command] = []
        if address.password is not None:
            login = (address.username,) if address.username else ()
            greetings.append(("AUTH", *login, address.password))
        if address.database:
            greetings.append(("SELECT", address.database))
        greetings.append(("CLIENT", "SETNAME", self._name))
        replies = await self._exchange(wire, tuple(greetings), CONNECT_SECONDS)
        for reply in replies[:-1]:  # a server that knows no client names is fine
            if isinstance(reply, ReplyError):
                wire.fail(LinkError("refused"))
                raise LinkError(f"Redis refuses the login or the database of AUGURY_REDIS_URL: {reply}")
        return wire


async def _open(address: Address) -> _Wire:
    loop = asyncio.get_running_loop()
    if address.path is not None:
        _, wire = await loop.create_unix_connection(_Wire, address.path)
        return wire
    tls = _tls_context(address.options) if address.tls else None
    transport, wire = await loop.create_connection(_Wire, address.host, address.port, ssl=tls)
    plug = transport.get_extra_info("socket")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return wire


def _tls_context(options: dict[str, str]) -> Any:
    import ssl  # lazy: only rediss:// needs it

    context = ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path")
    )
    if options.get("ssl_cert_reqs", "required").lower() in ("none", "cert_none"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
        context.check_hostname = False
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context
