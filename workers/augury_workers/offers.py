"""Reports of ended attempts that the server has not committed yet: offered again until it has."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from augury_workers import protocol
from augury_workers.link import Link, LinkError, ReplyError
from augury_workers.relay import Relay
from augury_workers.spool import Identity, Spool

OFFER_SECONDS = 2.0
LONGEST_PAUSE = 60.0
"""Pauses grow to this while nothing changes."""

KEEP_SECONDS = 7 * 24 * 3600.0
"""What a server has not known for so long is dropped."""

BATCH = 500
BACKLOG = 1000
"""With so many reports in the stream nobody reads it: nothing is sent twice."""


@dataclass
class Offer:
    """One ended attempt."""

    relay: Relay
    died: str | None
    """Why there will be no final report."""
    pause: float = OFFER_SECONDS
    due: float = 0.0
    since: float = field(default_factory=time.time)


class Offers:
    """All ended attempts of a slot that still wait for the server."""

    def __init__(self, link: Link, keys: protocol.Keys, spool: Spool, worker: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._keys = keys
        self._spool = spool
        self._worker = worker
        self._offers: dict[Identity, Offer] = {}
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    def adopt_all(self) -> None:
        """Take over what an earlier supervisor left in the spool."""
        for identity in list(self._spool.kept):
            if identity not in self._offers:
                self.add(Relay(self._link, self._keys, identity, self._spool))

    def add(self, relay: Relay) -> None:
        """Take an attempt whose reports are in the stream, or which died."""
        kept = self._spool.keep(relay.identity)
        died = None if kept.ended else kept.died
        if relay.settled and died is None:
            self._spool.settle(relay.identity)
            return
        offer = Offer(relay, died)
        if kept.ended:
            offer.due = self._loop.time() + OFFER_SECONDS
        self._offers[relay.identity] = offer
        if self._task is None:
            self._task = self._loop.create_task(self._keep_offering())

    async def round(self) -> None:
        """Ask once about every attempt that is due and do what the answers need.

        Raises:
            LinkError: Redis cannot be reached.
        """
        async with self._lock:
            now = self._loop.time()
            due = [offer for offer in self._offers.values() if offer.due <= now]
            for start in range(0, len(due), BATCH):
                batch = due[start : start + BATCH]
                looks = (offer.relay.look() for offer in batch)
                waiting, *replies = await self._link.call(("XLEN", self._keys.reports), *looks)
                if isinstance(waiting, ReplyError):
                    raise LinkError(f"Redis refuses: {waiting}")
                for offer, reply in zip(batch, replies, strict=True):
                    await self._advance(offer, offer.relay.looked(reply), waiting)

    async def _keep_offering(self) -> None:
        """Ask in rounds, so that many short runs cost one call every other second."""
        while self._offers:
            with contextlib.suppress(LinkError):
                await self.round()
            await asyncio.sleep(OFFER_SECONDS)
        self._task = None

    async def _advance(self, offer: Offer, verdict: protocol.Verdict, waiting: int) -> None:
        relay = offer.relay
        known = relay.acked
        if verdict == "yours" and offer.pause >= LONGEST_PAUSE and waiting < BACKLOG:
            # Nothing has moved for minutes: the reports or their acknowledgement are lost, and after the
            # end of a run nobody at the server looks for either. What it has, it acknowledges once more.
            relay.resend()
        while verdict == "yours" and relay.unsent:
            verdict = await relay.say()
        if offer.died is not None and (verdict == "yours" or (verdict == "gone" and relay.settled)):
            await self._report_died(offer, offer.died)
        done = verdict == "superseded" or (verdict == "yours" and relay.settled and offer.died is None)
        if done or time.time() - offer.since > KEEP_SECONDS:
            del self._offers[relay.identity]
            self._spool.settle(relay.identity)
            return
        offer.pause = OFFER_SECONDS if relay.acked > known else min(offer.pause * 1.5, LONGEST_PAUSE)
        offer.due = self._loop.time() + offer.pause

    async def _report_died(self, offer: Offer, reason: str) -> None:
        run, token, nonce = offer.relay.identity.run, offer.relay.identity.token, offer.relay.identity.nonce
        fields = protocol.died_fields(run, token, nonce, self._worker, reason)
        flat = [part for pair in fields.items() for part in pair]
        [reply] = await self._link.call(("XADD", self._keys.reports, "*", *flat))
        if isinstance(reply, ReplyError):
            raise LinkError(f"Redis refuses: {reply}")
