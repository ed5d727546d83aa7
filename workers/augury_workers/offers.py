"""Reports of ended attempts that the server has not committed yet: offered again until it has."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field

from augury_workers import protocol
from augury_workers.link import Link, LinkError, ReplyError
from augury_workers.relay import Relay
from augury_workers.slot import Identity, died_reason, remove_folder, remove_tree
from augury_workers.spool import Spool

OFFER_SECONDS = 2.0
LONGEST_PAUSE = 60.0
"""Pauses grow to this while nothing changes."""

KEEP_SECONDS = 7 * 24 * 3600.0
"""What a server has not known for so long is dropped."""

BATCH = 500


@dataclass
class Offer:
    """One ended attempt."""

    relay: Relay
    folder: str
    died: str | None
    pause: float = OFFER_SECONDS
    due: float = 0.0
    since: float = field(default_factory=time.time)


class Offers:
    """All ended attempts of a slot that still wait for the server."""

    def __init__(self, link: Link, keys: protocol.Keys, worker: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._keys = keys
        self._worker = worker
        self._offers: dict[Identity, Offer] = {}
        self._task: asyncio.Task[None] | None = None

    def adopt(self, identity: Identity, folder: str) -> None:
        """Take over the folder of an attempt that an earlier supervisor left."""
        relay = Relay.load(self._link, self._keys, identity, Spool(f"{folder}/spool"))
        died = None if relay.ended else died_reason(folder)
        offer = Offer(relay, folder, died)
        try:
            offer.since = os.stat(folder).st_mtime
        except OSError:
            pass
        self._put(identity, offer)

    def add(self, relay: Relay, folder: str, died: str | None = None) -> None:
        """Take an attempt whose reports are in the stream, or which died."""
        offer = Offer(relay, folder, died)
        if died is None:
            offer.due = self._loop.time() + OFFER_SECONDS
        self._put(relay.identity, offer)

    async def round(self) -> None:
        """Ask once about every attempt that is due and do what the answers need.

        Raises:
            LinkError: Redis cannot be reached.
        """
        now = self._loop.time()
        due = [offer for offer in self._offers.values() if offer.due <= now]
        for start in range(0, len(due), BATCH):
            batch = due[start : start + BATCH]
            replies = await self._link.call(*(offer.relay.look() for offer in batch))
            for offer, reply in zip(batch, replies, strict=True):
                await self._advance(offer, offer.relay.looked(reply))

    def _put(self, identity: Identity, offer: Offer) -> None:
        self._offers[identity] = offer
        if self._task is None:
            self._task = self._loop.create_task(self._keep_offering())

    async def _keep_offering(self) -> None:
        while self._offers:
            pause = min(offer.due for offer in self._offers.values()) - self._loop.time()
            await asyncio.sleep(max(pause, 0.0))
            try:
                await self.round()
            except LinkError:
                await asyncio.sleep(OFFER_SECONDS)
        self._task = None

    async def _advance(self, offer: Offer, verdict: protocol.Verdict) -> None:
        relay = offer.relay
        known = relay.acked
        while verdict == "yours" and relay.unsent:
            verdict = await relay.say()
        if offer.died is not None and (verdict == "yours" or (verdict == "gone" and relay.settled)):
            await self._report_died(offer, offer.died)
        done = verdict == "superseded" or (verdict == "yours" and relay.settled and offer.died is None)
        if done or time.time() - offer.since > KEEP_SECONDS:
            del self._offers[relay.identity]
            relay.close()
            if not remove_folder(offer.folder):
                await asyncio.to_thread(remove_tree, offer.folder)
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
