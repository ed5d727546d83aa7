"""One connection to Redis on which batches of commands go out and their replies come back, and nothing else.

It is redis-py's connection (address, login, TLS, health checks, errors) without redis-py's client around
it: looking up, converting and counting each command costs ten times what sending it does, on the path of
every run.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import redis

from augury_workers import protocol

Command: TypeAlias = tuple[str | bytes | int, ...]


def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


_SCRIPTS = {_sha(script): script for script in (protocol.GRANT, protocol.MEND)}
_NAMES = {script: sha for sha, script in _SCRIPTS.items()}


def script(text: str, keys: Sequence[str], values: Iterable[str | int]) -> Command:
    """Return the command that calls one of the scripts of the protocol by its hash."""
    return ("EVALSHA", _NAMES[text], len(keys), *keys, *values)


class Lane:
    """A connection that is opened when first used; any thread may use it, one after another."""

    def __init__(self, redis_url: str) -> None:
        pool = redis.ConnectionPool.from_url(
            redis_url,
            socket_timeout=10,
            socket_connect_timeout=5,
            health_check_interval=15,
            protocol=2,
        )
        self._connection: Any = pool.make_connection()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self._connection.disconnect()

    def call(self, commands: Sequence[Command]) -> list[Any]:
        """Send `commands` at once and return their replies in order.

        A connection that turns out to be closed is opened once more: what was sent may be done twice.

        Raises:
            redis.RedisError: Redis does not answer, or refuses one of them; the others may have been done.
        """
        if not commands:
            return []
        with self._lock:
            try:
                replies = self._exchange(commands)
            except redis.ConnectionError:
                replies = self._exchange(commands)
            if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
                # All again, so that their order stays; whatever is sent here may be repeated.
                replies = self._exchange([_spelled_out(command) for command in commands])
        for reply in replies:
            if isinstance(reply, redis.RedisError):
                raise reply
        return replies

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            return [self._reply() for _ in commands]
        except BaseException:
            # Replies that were not read would be taken for those of the next call.
            connection.disconnect()
            raise

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error


def _spelled_out(command: Command) -> Command:
    if command[0] != "EVALSHA":
        return command
    return ("EVAL", _SCRIPTS[str(command[1])], *command[2:])
