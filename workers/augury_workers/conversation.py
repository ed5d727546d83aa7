"""The talk of one attempt with the server: reports out, answers in, wakes from its box."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from augury_workers import protocol
from augury_workers.link import Link, LinkError
from augury_workers.relay import Relay

GONE_SECONDS = 60.0
"""How long a final report holds the slot while the server does not know the attempt."""

RETRY_SECONDS = 5.0
"""Longest pause between two calls while Redis fails."""


class Conversation:
    """Runs in the background once `start`ed; a run shorter than a tick only ever needs `deliver`."""

    def __init__(
        self,
        relay: Relay,
        make_link: Callable[[], Link],
        box: str,
        heed: Callable[[], None],
        beat_seconds: float = protocol.BEAT_SECONDS,
    ) -> None:
        self._relay = relay
        self._make_link = make_link
        self._box = box
        self._heed = heed
        self._beat_seconds = beat_seconds
        self._loop = asyncio.get_running_loop()
        self._kicked = asyncio.Event()
        self._given_up: asyncio.Future[None] = self._loop.create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._said = self._loop.time()

    def start(self) -> None:
        """Begin to say what there is whenever kicked, and to listen at the box."""
        if not self._tasks:
            self._tasks = [self._loop.create_task(self._pump()), self._loop.create_task(self._listen())]

    def kick(self) -> None:
        """Say something now: there are reports, or the server wants to be asked."""
        self._kicked.set()

    def tick(self) -> None:
        """Kick when a report waits or a heartbeat is due."""
        if self._relay.unsent or self._loop.time() - self._said >= 0.9 * self._beat_seconds:
            self._kicked.set()

    async def stop(self) -> None:
        """End the background tasks; a call that is under way is waited for."""
        self._stopping = True
        if not self._tasks:
            return
        pump, listener = self._tasks
        self._tasks = []
        listener.cancel()
        self._kicked.set()
        await asyncio.wait([pump, self._given_up], return_when=asyncio.FIRST_COMPLETED)
        pump.cancel()

    def give_up(self) -> None:
        """Wait for nothing any more: what is not delivered stays in the spool."""
        if not self._given_up.done():
            self._given_up.set_result(None)
        self._relay.abort()

    async def room(self) -> bool:
        """Wait until the relay takes reports again; False when it never will."""
        while self._relay.full:
            await self._say(0.05)
            if self._hopeless:
                return False
        return True

    async def deliver(self) -> None:
        """Say until everything is in the stream and the attempt was found to be ours."""
        begun = self._loop.time()
        while self._relay.unsent and not self._hopeless:
            if not await self._say(0.0) and self._loop.time() - begun > GONE_SECONDS:
                return

    @property
    def _hopeless(self) -> bool:
        return self._given_up.done() or self._relay.verdict == "superseded"

    async def _say(self, pause: float) -> bool:
        """Call once and pause; False, after a longer pause, when that brought nothing forward."""
        try:
            verdict = await self._relay.say()
        except LinkError:
            verdict = "gone"
        self._said = self._loop.time()
        if verdict == "gone":
            pause = 0.5
        if pause:
            await asyncio.wait([self._given_up], timeout=pause)
        return verdict != "gone"

    async def _pump(self) -> None:
        pause = 0.25
        while not self._stopping:
            await self._kicked.wait()
            self._kicked.clear()
            if self._stopping:
                return
            try:
                await self._relay.say()
            except LinkError:
                await asyncio.wait([self._given_up], timeout=pause)
                pause = min(pause * 2, RETRY_SECONDS)
                self._kicked.set()
                continue
            pause = 0.25
            self._said = self._loop.time()
            self._heed()
            if self._relay.verdict == "yours" and self._relay.unsent:
                self._kicked.set()

    async def _listen(self) -> None:
        """Wait for wakes on a link of its own: a stop is acted on within milliseconds."""
        link = self._make_link()
        try:
            while True:
                try:
                    [reply] = await link.call(("BLPOP", self._box, 5))
                except LinkError:
                    await asyncio.sleep(1.0)
                    continue
                if isinstance(reply, list):
                    self._kicked.set()
                elif reply is not None:  # refused: do not spin
                    await asyncio.sleep(1.0)
        finally:
            link.close()
