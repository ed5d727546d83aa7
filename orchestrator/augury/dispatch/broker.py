"""Redis as the server uses it: reports in; grants, acknowledgements and wishes out.

Nothing here is the truth: all of it can be written again from the store.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis

from augury.dispatch.answers import Answers
from augury.dispatch.lane import Lane
from augury_workers import protocol
from augury_workers.protocol import Keys, Secret

Fields = Mapping[bytes, bytes]

BROKER_FAILURES = (redis.RedisError,)
"""What the methods of `Broker` and `Answers` raise when Redis does not answer."""


class Beat(NamedTuple):
    """What an attempt's hash says, where it is there: `beat` grows with each sign of life."""

    token: int
    nonce: str
    want: str
    ack: int
    beat: int
    sent: int


class Broker:
    """One Redis or Valkey server, and what it holds for one instance."""

    def __init__(self, redis_url: str, keys: Keys, secrets: Sequence[Secret], epoch: int) -> None:
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=10, socket_connect_timeout=5, health_check_interval=15
        )
        self._reading, self._saying = Lane(redis_url), Lane(redis_url)
        self._keys = keys
        self._secrets = secrets
        self._epoch = epoch

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()
        self._reading.close()
        self._saying.close()

    def lead(self, *, insist: bool) -> None:
        """Say that this server leads, unless a later one does.

        `insist` says it in any case: the number there may be of a database that is gone.
        """
        known = None if insist else self._redis.get(self._keys.leader)
        if known is None or int(known) < self._epoch:
            self._redis.set(self._keys.leader, self._epoch)

    def run_id(self) -> str:
        """Return the identity of the Redis process: another one may have lost what it held."""
        return str(self._redis.info("server")["run_id"])

    # --- reports ---

    def read_reports(self, count: int, block_ms: int) -> list[tuple[bytes, Fields]]:
        """Return the oldest reports that are not taken in yet, waiting `block_ms` for the first."""
        command = ("XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", self._keys.reports, "0")
        [streams] = self._reading.call([command])
        if not streams:
            return []
        [(_, entries)] = streams
        return [(entry_id, dict(zip(flat[::2], flat[1::2], strict=True))) for entry_id, flat in entries]

    def pending_reports(self) -> int:
        """Return how many reports wait to be taken in."""
        return int(self._redis.xlen(self._keys.reports))

    # --- attempts ---

    def answers(self) -> Answers:
        """Return a collection of things to say in one round trip."""
        return Answers(self._saying, self._keys, self._secrets, self._epoch)

    def beats(self, run_ids: Sequence[int]) -> list[Beat | None]:
        """Return what the hashes of open attempts say; None where one is missing."""
        with self._redis.pipeline(transaction=False) as pipe:
            for run_id in run_ids:
                pipe.hmget(self._keys.attempt(run_id), ["token", "nonce", "want", "ack", "beat", "sent"])
            rows = pipe.execute()
        return [
            Beat(int(row[0]), *(text.decode() for text in row[1:3]), *(int(text or 0) for text in row[3:]))
            if None not in row[:4]
            else None
            for row in rows
        ]

    def reap(self, run_id: int, beat: int, token: int) -> bool:
        """Take a silent attempt's run away, unless it has spoken since `beat` was read."""
        script = self._redis.register_script(protocol.REAP)
        keys = [self._keys.leader, self._keys.attempt(run_id)]
        return bool(script(keys=keys, args=[self._epoch, beat, token + 1]))

    # --- workers ---

    def tell_workers(self, drained: Collection[str], refused: Mapping[str, str]) -> None:
        """Say which workers take nothing new, and whose hello is refused (name -> why), if it differs."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.smembers(self._keys.drained)
            pipe.hgetall(self._keys.refused)
            names, why = pipe.execute()
        with self._redis.pipeline(transaction=True) as pipe:
            if names != {name.encode() for name in drained}:
                pipe.delete(self._keys.drained)
                if drained:
                    pipe.sadd(self._keys.drained, *sorted(drained))
            if why != {name.encode(): text.encode() for name, text in refused.items()}:
                pipe.delete(self._keys.refused)
                if refused:
                    pipe.hset(self._keys.refused, mapping=cast("Any", refused))
            pipe.execute()

    # --- queues ---

    def is_empty(self, queue: str) -> bool:
        """Tell whether no doorbell of a queue waits or is being handed over."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.llen(self._keys.prefix + queue)
            pipe.hlen(self._keys.prefix + "unacked")
            waiting, handed = pipe.execute()
        return int(waiting) + int(handed) == 0


def text(fields: Fields, name: bytes) -> str:
    """Return a field of a report as text; raises `KeyError` when it is missing."""
    return fields[name].decode()


def body(fields: Fields) -> dict[str, Any]:
    """Return the JSON body of a report."""
    document: dict[str, Any] = json.loads(fields[b"j"])
    return document
