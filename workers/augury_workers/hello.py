"""The worker's hello: every 10 s, and when another server leads, it tells which slots it has.

It also looks at what the server says of the worker.
"""

from __future__ import annotations

import time
from typing import NamedTuple, cast

import redis

from augury_workers import protocol
from augury_workers.link import parse_url
from augury_workers.secret import SecretFile, SettingError
from augury_workers.settings import Settings

START_SECONDS = 10.0
"""How long a worker that starts waits for the broker."""

HIDDEN = "…"
"""What a server prints in place of the broker's password where it may land in logs."""

_TIMEOUT = 3.0
_PAUSE = 10.0
"""How long nobody looks after a call that failed: each blocks the worker's main process until its timeout."""


class BrokerAwayError(Exception):
    """The broker does not answer; the text is a sentence that names the setting."""


class Said(NamedTuple):
    """What the server says of this worker: that it is drained, why its hello is refused ("": it is not)."""

    drained: bool
    refused: str


class Hello:
    """Says hello for one worker over a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = protocol.Keys(settings.instance)
        self._secret = SecretFile(settings.secret_file)
        self._mac = ""
        self._failed = -_PAUSE
        self._leader: bytes | None = None
        self._leaving = False
        self._redis = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            client_name=f"augury-hello-{settings.name}",
        )

    def say(self) -> bool:
        """Tell the server of the slots; False when Redis fails."""
        try:
            self._say()
            self._failed = -_PAUSE
        except (redis.RedisError, OSError):
            return False
        return True

    def leave(self) -> None:
        """Say that this worker takes no more runs; later hellos say so too."""
        self._leaving = True
        self.say()

    def look(self) -> Said | None:
        """Return what the server says of this worker; None when Redis fails.

        A server that has just begun to lead knows no worker yet: it is said hello at once.
        """
        if time.monotonic() - self._failed < _PAUSE:
            return None
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.get(self._keys.leader)
                pipe.sismember(self._keys.drained, self._settings.name)
                pipe.hget(self._keys.refused, self._settings.name)
                leader, drained, refused = pipe.execute()
        except (redis.RedisError, OSError):
            self._failed = time.monotonic()
            return None
        if leader is not None and leader != self._leader:
            self._leader = leader
            self.say()
        reason, _, mac = cast("bytes", refused or b"").decode().partition(" ")
        return Said(bool(drained), reason if mac == self._mac else "")

    def first(self) -> None:
        """Say hello before anything is consumed.

        Raises:
            SettingError: the broker refuses the login that the URL has, or has not, or is not trusted.
            BrokerAwayError: no answer within 10 s; one that still loads its data is waited for.
        """
        end, pause = time.monotonic() + START_SECONDS, 0.1
        while True:
            try:
                self._say()
                return
            except redis.AuthenticationError as error:
                text = f"the broker refuses the login: {error}"
                if parse_url(self._settings.redis_url).password == HIDDEN:
                    text += f"; {HIDDEN} stands for the password in logs: put the broker's own there"
                raise SettingError(f"AUGURY_REDIS_URL: {text}") from error
            except redis.exceptions.NoPermissionError as error:
                fix = "see `augury redis-acl`"
                raise SettingError(
                    f"AUGURY_REDIS_URL: its user has too few rights: {error}; {fix}"
                ) from error
            except redis.BusyLoadingError:
                end = time.monotonic() + START_SECONDS
            except (redis.RedisError, OSError) as error:
                if (fault := protocol.distrust(error)) is not None:
                    raise SettingError(f"AUGURY_REDIS_URL: {fault}") from error
                if time.monotonic() + pause > end:
                    text = (
                        f"no answer from the broker at {self._place()} within {START_SECONDS:.0f} s: {error}"
                    )
                    raise BrokerAwayError(f"AUGURY_REDIS_URL: {text}") from error
            time.sleep(pause)
            pause = min(pause * 2, 2.0)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _say(self) -> None:
        settings = self._settings
        slots = 0 if self._leaving else settings.slots
        fields = protocol.sign_fields(
            protocol.hello_fields(
                settings.name, settings.host, [settings.queue], [settings.machine_type], slots
            ),
            self._secret.signer(),
        )
        self._redis.xadd(self._keys.reports, fields)  # type: ignore[arg-type]
        self._mac = str(fields["mac"])

    def _place(self) -> str:
        """Return where the broker is, without its password."""
        address = parse_url(self._settings.redis_url)
        return address.path or f"{address.host}:{address.port}"
