"""The supervisor of one slot: one process that claims runs, executes them and relays what they say.

Started once by the slot's pool child: requests come in on standard input, one JSON line each, and every one
is answered by one JSON line on standard output. The end of standard input is the lifeline: the pool child is
gone, so the tree of the run is ended, the attempt is reported as died, and the supervisor goes too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from augury_workers import environment, platform, protocol
from augury_workers.attempt import Attempt, Outcome, Station
from augury_workers.claim import Claims, Refused
from augury_workers.link import Address, Link, LinkError, parse_url
from augury_workers.offers import Offers
from augury_workers.process import Reaper
from augury_workers.secret import SecretFile
from augury_workers.slot import Slot, SlotBusyError
from augury_workers.spool import Identity
from augury_workers.workspace import Workspace

LAST_WORDS_SECONDS = 3.0
"""How long a supervisor without a pool child tries to report."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the pool child hands to its supervisor."""

    address: Address
    secret: SecretFile
    instance: str
    worker: str
    index: int
    folder: str
    python_folder: str | None


class Requests(asyncio.Protocol):
    """Lines from the pool child; `lost` is done when there will be no more."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the pool child."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(lines)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the pool child."""
        self.end()

    def end(self) -> None:
        """Behave as if the pool child were gone."""
        if not self.lost.done():
            self.lost.set_result(None)
        self._wake()

    async def next(self) -> bytes | None:
        """Return the next line; None when the pool child is gone."""
        while not self._lines and not self.lost.done():
            self._waiter = self._loop.create_future()
            await self._waiter
        return None if self.lost.done() else self._lines.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Supervisor:
    """The loop over runs of one slot."""

    def __init__(self, setting: Setting, slot: Slot, requests: Requests) -> None:
        loop = asyncio.get_running_loop()
        self._setting = setting
        self._slot = slot
        self._requests = requests
        self._keys = protocol.Keys(setting.instance)
        self._link = self._make_link()
        self._claims = Claims(self._link, self._keys, setting.secret, setting.worker, setting.index)
        self._offers = Offers(self._link, self._keys, slot.spool, setting.worker)
        self._station = Station(
            loop=loop,
            link=self._link,
            make_link=self._make_link,
            keys=self._keys,
            reaper=Reaper(loop),
            spool=slot.spool,
            workspace=Workspace(slot.path),
            python_folder=setting.python_folder,
            own_environment=environment.scrub(os.environ),
            secret=setting.secret,
            url=os.environ.get("AUGURY_URL"),
        )
        self._attempt: Attempt | None = None
        requests.lost.add_done_callback(self._orphaned)

    async def serve(self) -> None:
        """Execute requests until the pool child is gone."""
        self._slot.recover(self._setting.instance, "its supervisor was gone")
        self._offers.adopt_all()
        self._station.workspace.clear()
        while (line := await self._requests.next()) is not None:
            request = json.loads(line)
            result = await self._handle(int(request["run"]), int(request["token"]))
            if result is not None:
                with contextlib.suppress(BrokenPipeError):  # its end is noticed by `next`
                    os.write(1, json.dumps(result).encode() + b"\n")
        await self._last_words()

    def _make_link(self) -> Link:
        name = f"augury-{self._setting.worker}-{self._setting.index}".replace(" ", "-")
        return Link(self._setting.address, name)

    async def _handle(self, run: int, token: int) -> dict[str, Any] | None:
        """Claim and execute one run; None when the pool child went away meanwhile."""
        identity = Identity(run, token, protocol.new_nonce())
        self._slot.write(identity)
        answer = await self._claims.claim(identity)
        if isinstance(answer, Refused):
            return self._refuse(identity, answer)
        if self._requests.lost.done():
            return None
        outcome = await self._execute(Attempt(self._station, answer.order, identity, answer.asked))
        if self._requests.lost.done():
            return None
        if outcome.state == "superseded":
            self._slot.spool.settle(identity)
        else:
            self._offers.add(outcome.relay)
        self._slot.write(None)
        return {"run": run, "state": outcome.state, "exit": outcome.exit_code}

    async def _execute(self, attempt: Attempt) -> Outcome:
        self._attempt = attempt
        try:
            return await attempt.run()
        finally:
            self._attempt = None

    def _refuse(self, identity: Identity, refused: Refused) -> dict[str, Any] | None:
        if refused.reason == "orphaned":
            return None
        if refused.reason == "forged":
            # The server may have granted the run to us: it must learn that nothing runs here.
            self._slot.spool.mark_died(identity, f"the worker refused the order: {refused.text}")
            self._offers.adopt_all()
        self._slot.write(None)
        return {"run": identity.run, "state": "denied", "reason": refused.reason}

    def _orphaned(self, _: asyncio.Future[None]) -> None:
        """The pool child is gone: end what runs, or stop waiting for an order."""
        if self._attempt is not None:
            self._attempt.orphan()
        else:
            self._claims.give_up()

    async def _last_words(self) -> None:
        """Report what died with the pool child; if that fails the next supervisor of the slot does it."""
        self._slot.recover(self._setting.instance, "the worker process of its slot was gone")
        self._offers.adopt_all()
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._offers.round()
        except (LinkError, TimeoutError):
            pass


async def _lock(folder: str) -> Slot:
    """Return the slot; waits for an earlier supervisor that is still ending its tree."""
    begun = time.monotonic()
    told = False
    while True:
        try:
            return Slot(folder)
        except SlotBusyError:
            if not told and time.monotonic() - begun > 10.0:
                told = True
                text = f"augury worker: {folder} is held by another process; waiting"
                print(text, file=sys.stderr, flush=True)
            await asyncio.sleep(0.02)


async def run(setting: Setting) -> None:
    """Serve the slot until the pool child is gone."""
    loop = asyncio.get_running_loop()
    _, requests = await loop.connect_read_pipe(Requests, os.fdopen(0, "rb", buffering=0))
    # A handler, not SIG_IGN: that would be inherited by trainings.
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, requests.end)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    locking = asyncio.ensure_future(_lock(setting.folder))
    requests.lost.add_done_callback(lambda _: locking.cancel())
    with contextlib.suppress(asyncio.CancelledError):
        await Supervisor(setting, await locking, requests).serve()


def main() -> None:
    """Start the supervisor as its pool child asks on the command line; URL and secret come by environment."""
    parser = argparse.ArgumentParser(prog="augury_workers.supervisor")
    for name in ("--instance", "--worker", "--index", "--folder", "--python-folder"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    setting = Setting(
        address=parse_url(os.environ["AUGURY_REDIS_URL"]),
        secret=SecretFile(os.environ["AUGURY_SECRET_FILE"]),
        instance=arguments.instance,
        worker=arguments.worker,
        index=int(arguments.index),
        folder=arguments.folder,
        python_folder=arguments.python_folder,
    )
    platform.become_subreaper()
    gc.freeze()  # what was imported stays: not to be looked through again and again
    asyncio.run(run(setting))


if __name__ == "__main__":
    main()
