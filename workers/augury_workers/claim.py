"""The claim of a run: asked in the report stream, answered in the box, checked before it is executed."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from augury_workers import platform, protocol
from augury_workers.link import Command, Link, LinkError, ReplyError
from augury_workers.secret import SecretFile
from augury_workers.spool import Identity

QUICK_REPEATS = 10
SLOW_REPEAT_SECONDS = 5.0
"""A claim is repeated every 2 s, after ten times every 5 s: the stream of an absent server stays small."""

BAD_ENTRIES = 3
"""After so many answers that are no orders for us the claim is given up."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The order to execute, and when (boottime) the first claim and the call that brought it began."""

    order: dict[str, Any]
    claimed: float
    asked: float


@dataclass(frozen=True, slots=True)
class Refused:
    """No run for us: denied by the server, answered by somebody else (`forged`), given up (`orphaned`)."""

    reason: Literal["superseded", "version", "key", "forged", "orphaned"]
    text: str = ""


class Claims:
    """Claims runs for one slot."""

    def __init__(self, link: Link, keys: protocol.Keys, secret: SecretFile, worker: str, slot: int) -> None:
        self._link = link
        self._keys = keys
        self._secret = secret
        self._worker = worker
        self._slot = slot
        self._given_up = False

    def give_up(self) -> None:
        """End the claim that waits, and all later ones."""
        self._given_up = True
        self._link.close()

    async def claim(self, identity: Identity) -> Granted | Refused:
        """Ask until there is an answer, however long that takes; broken connections are made anew."""
        bad: list[str] = []
        pause, told = 0.1, False
        claimed = platform.boottime()
        for repeat in count():
            if self._given_up:
                break
            wait = protocol.CLAIM_REPEAT_SECONDS if repeat < QUICK_REPEATS else SLOW_REPEAT_SECONDS
            asked = platform.boottime()
            try:
                entry = await self._ask(identity, wait)
                while entry is not None:
                    answer = self._read(entry, identity, bad)
                    if answer is not None:
                        return answer if isinstance(answer, Refused) else Granted(answer, claimed, asked)
                    asked = platform.boottime()
                    entry = await self._listen(identity, wait)
                pause = 0.1
            except LinkError as error:
                if pause > 1.0 and not told:
                    told = True
                    _say(f"run {identity.run}: {error}; trying on")
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
        return Refused("orphaned")

    async def _ask(self, identity: Identity, wait: float) -> bytes | None:
        """Send the claim and wait for the box in one round trip."""
        fields = protocol.claim_fields(identity.run, identity.token, identity.nonce, self._worker, self._slot)
        fields = protocol.sign_fields(fields, self._secret.signer())
        flat = [part for pair in fields.items() for part in pair]
        claim: Command = ("XADD", self._keys.reports, "*", *flat)
        added, popped = await self._link.call(claim, self._pop(identity, wait))
        if isinstance(added, ReplyError):
            raise LinkError(f"Redis refuses the claim: {added}")
        return _entry(popped)

    async def _listen(self, identity: Identity, wait: float) -> bytes | None:
        [popped] = await self._link.call(self._pop(identity, wait))
        return _entry(popped)

    def _pop(self, identity: Identity, wait: float) -> Command:
        return ("BLPOP", self._keys.box(identity.nonce), wait)

    def _read(self, raw: bytes, identity: Identity, bad: list[str]) -> dict[str, Any] | Refused | None:
        """Return the order in an entry of the box; None: it says nothing of the claim or is not trusted."""
        try:
            entry = json.loads(raw)
            if "deny" in entry:
                known = entry["deny"] in ("version", "key")
                return Refused(entry["deny"] if known else "superseded")
            if "order" not in entry:
                return None
            order = protocol.open_order(entry, self._secret.keys())
            check_order(order, self._keys.instance, identity)
            return order
        except (ValueError, TypeError, KeyError) as error:
            bad.append(str(error) or type(error).__name__)
            _say(f"run {identity.run}: refused an order: {bad[-1]}")
            return Refused("forged", bad[-1]) if len(bad) >= BAD_ENTRIES else None


def check_order(order: dict[str, Any], instance: str, identity: Identity) -> None:
    """Check that a signed order is for this claim and can be executed here.

    Raises:
        ValueError: it is another claim's (an old or copied one), or malformed.
    """
    expected = {
        "v": protocol.VERSION,
        "instance": instance,
        "run": identity.run,
        "token": identity.token,
        "nonce": identity.nonce,
    }
    for name, value in expected.items():
        if order.get(name) != value:
            raise ValueError(f"its {name} is {order.get(name)!r}, not {value!r}: it answers another claim")
    if not isinstance(order.get("shell"), str) and not order.get("argv"):
        raise ValueError("the order has no command")
    for name in ("env", "grace", "attempt"):
        if order.get(name) is None:
            raise ValueError(f"the order has no {name}")


def _entry(popped: Any) -> bytes | None:
    if isinstance(popped, ReplyError):
        raise LinkError(f"Redis refuses to wait for the order: {popped}")
    return popped[1] if popped else None


def _say(text: str) -> None:
    print(f"augury worker: {text}", file=sys.stderr, flush=True)
