"""What the server says after a commit, collected and sent to Redis in one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from augury.dispatch.lane import Command, Lane, script
from augury_workers import protocol
from augury_workers.protocol import Keys, Secret


class AttemptState(NamedTuple):
    """What the hash of an open attempt has to say."""

    run_id: int
    token: int
    nonce: str
    want: str
    ack: int
    gen: str


class Answers:
    """Grants, denials, acknowledgements and wishes on their way; nothing is sent before `send`."""

    def __init__(self, lane: Lane, keys: Keys, secrets: Sequence[Secret], epoch: int) -> None:
        self._lane = lane
        self._commands: list[Command] = []
        self._keys = keys
        self._secrets = secrets
        self._epoch = epoch

    def send(self) -> None:
        """Send what was collected, in order.

        Raises:
            redis.RedisError: some or all of it was not done.
        """
        self._lane.call(self._commands)

    def grant(self, state: AttemptState, order: Mapping[str, Any], kid: str) -> None:
        """Give an attempt its order, signed with the key of its claim; refused when another server leads."""
        known = tuple(self._secrets)
        secret = next((one for one in known if one.kid == kid), known[0])
        keys = [self._keys.leader, self._keys.attempt(state.run_id), self._keys.box(state.nonce)]
        entry = protocol.seal_order(order, secret)
        values: list[str | int] = [
            self._epoch,
            state.token,
            state.nonce,
            state.want,
            state.ack,
            state.gen,
            entry,
        ]
        self._commands.append(script(protocol.GRANT, keys, values))

    def deny(self, nonce: str, reason: protocol.Denial) -> None:
        """Refuse a claim."""
        self._post(nonce, protocol.deny_entry(reason))

    def acknowledge(self, acks: Iterable[tuple[int, int]], ended: Iterable[int]) -> None:
        """Tell attempts (run id, last report taken in); let the hashes of ended runs expire."""
        for run_id, ack in acks:
            self._commands.append(("HSET", self._keys.attempt(run_id), "ack", ack))
        for run_id in ended:
            self._commands.append(("EXPIRE", self._keys.attempt(run_id), protocol.ATTEMPT_EXPIRE_SECONDS))

    def write_attempts(self, states: Iterable[AttemptState]) -> None:
        """Write the hashes of attempts anew; that of a later one stays, and all when another server leads."""
        for state in states:
            values: list[str | int] = [
                self._epoch,
                state.token,
                state.nonce,
                state.want,
                state.ack,
                state.gen,
            ]
            keys = [self._keys.leader, self._keys.attempt(state.run_id)]
            self._commands.append(script(protocol.MEND, keys, values))

    def wake(self, runs: Iterable[tuple[int, str, str]]) -> None:
        """Tell attempts (run id, nonce, want) that they shall stop or be killed."""
        for run_id, nonce, want in runs:
            self._commands.append(("HSET", self._keys.attempt(run_id), "want", want))
            self._post(nonce, protocol.wake_entry())

    def drop_reports(self, ids: Sequence[bytes]) -> None:
        """Remove reports that are committed."""
        self._commands.append(("XDEL", self._keys.reports, *ids))

    def _post(self, nonce: str, entry: str) -> None:
        box = self._keys.box(nonce)
        self._commands += [("RPUSH", box, entry), ("EXPIRE", box, protocol.BOX_EXPIRE_SECONDS)]
