"""What one attempt tells the server: numbered reports, sent until acknowledged, and the heartbeat.

A `Relay` keeps every report until its `s` is acknowledged. `say` is one call of the SAY script: heartbeat,
the reports not yet sent, and the answer (is the attempt still ours, what is wanted, up to where the server
has committed). After `gone` or a new generation everything from ack + 1 is sent again.
"""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from typing import Any

from augury_workers import platform, protocol
from augury_workers.link import Command, Link, LinkError, ReplyError
from augury_workers.spool import Identity, Report, Spool

BYTES_PER_SAY = 1024 * 1024
"""Reports of one call: small enough not to hold up Redis."""

_SAY_SHA = hashlib.sha1(protocol.SAY.encode(), usedforsecurity=False).hexdigest()


def exchange_commands(commands: list[Command], replies: list[Any]) -> list[Command]:
    """Return the commands that Redis refused because it does not know the script yet, with its text."""
    again = []
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT"):
            again.append(("EVAL", protocol.SAY, *command[2:]))
    return again


class Relay:
    """The reports of one attempt on their way to the server."""

    def __init__(self, link: Link, keys: protocol.Keys, identity: Identity, spool: Spool) -> None:
        self._link = link
        self._keys = keys
        self.identity = identity
        self._spool = spool
        self._unacked = spool.keep(identity).reports
        self._unspooled: list[Report] = []
        self._last = 0
        self._sent = 0
        self._gen: str | None = None
        self.unacked_bytes = sum(report.size for report in self._unacked)
        self.acked = 0
        self.verdict: protocol.Verdict = "yours"
        self.want: protocol.Want = ""
        self.renewed = platform.boottime()
        """When the last call began that found the attempt to be ours."""
        if self._unacked:  # an earlier supervisor's
            self.acked = self._sent = self._unacked[0].s - 1
            self._last = self._unacked[-1].s

    def add(self, body: dict[str, Any], data: bytes = b"") -> None:
        """Number a report and keep it; `say` sends it."""
        self._last += 1
        report = Report(self._last, json.dumps(body, separators=(",", ":")), data)
        self._unacked.append(report)
        self._unspooled.append(report)
        self.unacked_bytes += report.size

    @property
    def full(self) -> bool:
        """True when so much is unacknowledged that nothing more must be added but what ends the attempt."""
        return self.unacked_bytes >= protocol.UNACKED_BYTES_LIMIT

    @property
    def unsent(self) -> bool:
        """True when a report has not reached Redis."""
        return self._sent < self._last

    @property
    def settled(self) -> bool:
        """True when the server has committed every report."""
        return self.acked >= self._last

    async def say(self, timeout: float = 10.0) -> protocol.Verdict:
        """Send the heartbeat and what is not sent yet (up to 1 MiB) and take in the answer.

        Raises:
            LinkError: the call failed; it may or may not have been done, and can be repeated.
        """
        self.write_spool()
        batch = self._batch()
        command: Command = (
            "EVALSHA",
            _SAY_SHA,
            3,
            self._keys.attempt(self.identity.run),
            self._keys.reports,
            self._keys.box(self.identity.nonce),
            *self._arguments(batch),
        )
        before = platform.boottime()
        replies = await self._link.call(command, timeout=timeout)
        again = exchange_commands([command], replies)
        if again:
            replies = await self._link.call(*again, timeout=timeout)
        self._take(replies[0], batch, before)
        return self.verdict

    def look(self) -> Command:
        """Return the command that asks how far the server is, for `looked`; cheaper than `say`."""
        return ("HMGET", self._keys.attempt(self.identity.run), "token", "nonce", "ack", "gen")

    def looked(self, reply: Any) -> protocol.Verdict:
        """Take in the answer to `look`."""
        if isinstance(reply, ReplyError):
            raise LinkError(f"Redis refuses: {reply}")
        token, nonce, ack, gen = (_text(item) for item in reply)
        if not token:
            verdict = "gone"
        elif token == str(self.identity.token) and nonce == self.identity.nonce:
            verdict = "yours"
        else:
            verdict = "superseded"
        self._answer([verdict.encode(), b"", ack.encode(), gen.encode()])
        return self.verdict

    def resend(self) -> None:
        """Let `say` send again what is not acknowledged."""
        self._sent = self.acked

    def write_spool(self) -> None:
        """Bring the spool file up to date."""
        if self._unspooled:
            self._spool.append(self.identity, self._unspooled)
            self._unspooled = []

    def abort(self) -> None:
        """End a call that is under way."""
        self._link.close()

    def _batch(self) -> list[Report]:
        batch: list[Report] = []
        if not self.unsent:
            return batch
        size = 0
        for report in islice(self._unacked, self._sent + 1 - self._unacked[0].s, None):
            size += report.size
            if batch and size > BYTES_PER_SAY:
                break
            batch.append(report)
        return batch

    def _arguments(self, batch: list[Report]) -> list[str | bytes | int]:
        run, token, nonce = self.identity.run, self.identity.token, self.identity.nonce
        arguments: list[str | bytes | int] = [token, nonce, protocol.report_origin(run, token, nonce)]
        for report in batch:
            arguments += (report.s, report.body, report.data)
        return arguments

    def _take(self, reply: Any, batch: list[Report], before: float) -> None:
        if isinstance(reply, ReplyError):
            raise LinkError(f"Redis refuses: {reply}")
        if not isinstance(reply, list) or len(reply) != 4:
            raise LinkError(f"Redis answers something else: {reply!r}")
        if reply[0] == b"yours":
            self.renewed = before
            if batch:
                self._sent = batch[-1].s
        self._answer(reply)

    def _answer(self, reply: Any) -> None:
        verdict, want, ack, gen = (_text(item) for item in reply)
        self.verdict = verdict  # type: ignore[assignment]
        if verdict == "gone":
            self._sent = self.acked
        if verdict != "yours":
            return
        self.want = want  # type: ignore[assignment]
        self._acknowledge(int(ack or 0))
        if self._gen is not None and gen != self._gen:
            self._sent = self.acked
        self._gen = gen

    def _acknowledge(self, ack: int) -> None:
        if ack <= self.acked:
            return
        while self._unacked and self._unacked[0].s <= ack:
            self.unacked_bytes -= self._unacked.popleft().size
        self.acked = min(ack, self._last)
        self._sent = max(self._sent, self.acked)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else ""
