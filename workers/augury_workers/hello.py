"""The worker's hello: every 10 s it tells the server which slots it has."""

from __future__ import annotations

import sys
import time

import redis

from augury_workers import protocol
from augury_workers.settings import Settings

_TIMEOUT = 3.0


class Hello:
    """Says hello for one worker over a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = protocol.Keys(settings.instance)
        self._trouble = ""
        self._redis = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            client_name=f"augury-hello-{settings.name}",
        )

    def say(self, slots: int | None = None) -> bool:
        """Tell the server of the slots (0: this worker takes no more runs); False when Redis fails."""
        settings = self._settings
        count = settings.slots if slots is None else slots
        fields = protocol.hello_fields(
            settings.name, settings.host, [settings.queue], [settings.machine_type], count
        )
        try:
            self._redis.xadd(self._keys.reports, fields)  # type: ignore[arg-type]
        except (redis.RedisError, OSError) as error:
            self._trouble = str(error)
            return False
        return True

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
