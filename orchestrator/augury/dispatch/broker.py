"""Redis as the server uses it: reports in; grants, acknowledgements and wishes out.

Nothing here is the truth: all of it can be written again from the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis

from augury_workers import protocol
from augury_workers.protocol import Keys, Secret

Fields = Mapping[bytes, bytes]


class AttemptState(NamedTuple):
    """What the hash of an open attempt has to say."""

    run_id: int
    token: int
    nonce: str
    want: str
    ack: int
    gen: str


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

    def __init__(self, redis_url: str, keys: Keys, secret: Secret, epoch: int) -> None:
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=10, socket_connect_timeout=5, health_check_interval=15
        )
        self._keys = keys
        self._secret = secret
        self._epoch = epoch
        self._grant = self._redis.register_script(protocol.GRANT)

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def lead(self) -> None:
        """Say that this server leads."""
        self._redis.set(self._keys.leader, self._epoch)

    def run_id(self) -> str:
        """Return the identity of the Redis process: another one may have lost what it held."""
        return str(self._redis.info("server")["run_id"])

    # --- reports ---

    def read_reports(self, count: int, block_ms: int) -> list[tuple[bytes, Fields]]:
        """Return the oldest reports that are not taken in yet, waiting `block_ms` for the first."""
        answer = self._redis.xread({self._keys.reports: "0"}, count=count, block=block_ms)
        streams = cast("list[tuple[bytes, list[tuple[bytes, Fields]]]]", answer)
        if not streams:
            return []
        if isinstance(streams, dict):
            return [entry for batch in next(iter(streams.values())) for entry in batch]
        return streams[0][1]

    def drop_reports(self, ids: Sequence[bytes]) -> None:
        """Remove reports that are committed."""
        self._redis.xdel(self._keys.reports, *ids)

    def pending_reports(self) -> int:
        """Return how many reports wait to be taken in."""
        return int(self._redis.xlen(self._keys.reports))

    # --- attempts ---

    def grant(self, state: AttemptState, order: Mapping[str, Any]) -> None:
        """Give an attempt its signed order; refused by Redis when another server leads."""
        entry = protocol.seal_order(order, self._secret)
        self._grant(
            keys=[self._keys.leader, self._keys.attempt(state.run_id), self._keys.box(state.nonce)],
            args=[self._epoch, state.token, state.nonce, state.want, state.ack, state.gen, entry],
        )

    def deny(self, nonce: str, reason: str) -> None:
        """Refuse a claim."""
        entry = protocol.deny_entry("version" if reason == "version" else "superseded")
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.rpush(self._keys.box(nonce), entry)
            pipe.expire(self._keys.box(nonce), protocol.BOX_EXPIRE_SECONDS)
            pipe.execute()

    def acknowledge(self, acks: Iterable[tuple[int, int]], ended: Iterable[int]) -> None:
        """Tell attempts (run id, last report taken in); let the hashes of ended runs expire."""
        with self._redis.pipeline(transaction=False) as pipe:
            for run_id, ack in acks:
                pipe.hset(self._keys.attempt(run_id), "ack", str(ack))
            for run_id in ended:
                pipe.expire(self._keys.attempt(run_id), protocol.ATTEMPT_EXPIRE_SECONDS)
            pipe.execute()

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

    def write_attempts(self, states: Sequence[AttemptState]) -> None:
        """Write the hashes of open attempts anew."""
        with self._redis.pipeline(transaction=False) as pipe:
            for state in states:
                key = self._keys.attempt(state.run_id)
                fields: dict[Any, Any] = {
                    "token": str(state.token),
                    "nonce": state.nonce,
                    "want": state.want,
                    "ack": str(state.ack),
                    "gen": state.gen,
                }
                pipe.hset(key, mapping=fields)
                pipe.persist(key)
            pipe.execute()

    def wake(self, runs: Iterable[tuple[int, str, str]]) -> None:
        """Tell attempts (run id, nonce, want) that they shall stop or be killed."""
        with self._redis.pipeline(transaction=False) as pipe:
            for run_id, nonce, want in runs:
                pipe.hset(self._keys.attempt(run_id), "want", want)
                pipe.rpush(self._keys.box(nonce), protocol.wake_entry())
                pipe.expire(self._keys.box(nonce), protocol.BOX_EXPIRE_SECONDS)
            pipe.execute()

    def reap(self, run_id: int, beat: int, token: int) -> bool:
        """Take a silent attempt's run away, unless it has spoken since `beat` was read."""
        script = self._redis.register_script(protocol.REAP)
        keys = [self._keys.leader, self._keys.attempt(run_id)]
        return bool(script(keys=keys, args=[self._epoch, beat, token + 1]))

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
