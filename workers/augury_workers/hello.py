"""The worker's hello: every 10 s, and when another server leads, it says which slots it has."""

from __future__ import annotations

import sys
import time

import redis

from augury_workers import protocol
from augury_workers.settings import Settings

_TIMEOUT = 3.0

LOOK_SECONDS = 1.0
"""How often it is looked which server leads: one GET."""


class Hello:
    """Says hello for one worker over a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = protocol.Keys(settings.instance)
        self._trouble = ""
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
        settings = self._settings
        count = 0 if self._leaving else settings.slots
        fields = protocol.hello_fields(
            settings.name, settings.host, [settings.queue], [settings.machine_type], count
        )
        try:
            self._redis.xadd(self._keys.reports, fields)  # type: ignore[arg-type]
        except (redis.RedisError, OSError) as error:
            self._trouble = str(error) or type(error).__name__
            return False
        self._trouble = ""
        return True

    def leave(self) -> None:
        """Say that this worker takes no more runs; later hellos say so too."""
        self._leaving = True
        self.say()

    def look(self) -> None:
        """Say hello at once if another server leads now: it knows no worker yet."""
        if self._trouble:
            return  # the next hello finds out whether Redis is back
        try:
            leader = self._redis.get(self._keys.leader)
        except (redis.RedisError, OSError) as error:
            self._trouble = str(error) or type(error).__name__
            return
        if leader == self._leader or not isinstance(leader, bytes):
            return
        self._leader = leader
        self.say()

    def first(self) -> None:
        """Say hello before anything is consumed, however long Redis takes to come up."""
        pause = 0.1
        told = False
        while not self.say():
            if not told and pause > 1.0:
                told = True
                print(
                    f"augury worker {self._settings.name}: no answer from the broker of AUGURY_REDIS_URL, "
                    f"trying on: {self._trouble}",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
