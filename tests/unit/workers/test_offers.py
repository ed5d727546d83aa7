"""Reports of an ended attempt leave the worker's disk once the server has them, whatever was lost between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from augury_workers import offers, protocol
from augury_workers.link import Command
from augury_workers.offers import BACKLOG, LONGEST_PAUSE, OFFER_SECONDS, Offers
from augury_workers.relay import Relay
from augury_workers.spool import Identity, Spool

ONE = Identity(1, 1, "aa")


class FakeServer:
    """Redis and a server behind it that takes what arrives and acknowledges it, unless that is lost."""

    def __init__(self) -> None:
        self.ack = 0
        self.loses_all = False
        self.waiting = 0
        self.sent: list[int] = []

    async def call(self, *commands: Command, timeout: float = 10.0) -> list[Any]:
        return [self._answer(command) for command in commands]

    def _answer(self, command: Sequence[Any]) -> Any:
        if command[0] == "XLEN":
            return self.waiting
        ack = str(self.ack).encode()
        if command[0] == "HMGET":
            return [b"1", b"aa", ack, b"g1"]
        numbers = [int(number) for number in command[9::3]]
        self.sent += numbers
        if numbers and not self.loses_all:
            self.ack = max(self.ack, numbers[-1])
        return [b"yours", b"", ack, b"g1"]


class Slot:
    """An ended attempt with two reports whose way to the server can be looked at, round by round."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.server = FakeServer()
        self.spool = Spool(str(path))
        self.now = 0.0
        monkeypatch.setattr(offers.asyncio, "get_running_loop", lambda: self)  # type: ignore[attr-defined]
        self.offers = Offers(self.server, protocol.Keys("t"), self.spool, "w")  # type: ignore[arg-type]

    def time(self) -> float:
        return self.now

    def create_task(self, coroutine: Any) -> object:
        coroutine.close()
        return object()

    async def end_attempt(self) -> None:
        relay = Relay(self.server, protocol.Keys("t"), ONE, self.spool)  # type: ignore[arg-type]
        relay.add({"k": "exit", "code": 0})
        relay.add({"k": "final", "state": "complete"})
        await relay.say()
        self.offers.add(relay)

    async def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / OFFER_SECONDS)):
            self.now += OFFER_SECONDS
            await self.offers.round()


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slot:
    return Slot(tmp_path / "spool", monkeypatch)


def test_nothing_is_sent_twice_to_a_server_that_acknowledges(slot: Slot) -> None:
    async def story() -> None:
        await slot.end_attempt()
        await slot.wait(4)

    asyncio.run(story())
    assert slot.server.sent == [1, 2]
    assert slot.path.stat().st_size == 0


def test_lost_final_reports_are_sent_again_when_nothing_has_moved_for_minutes(slot: Slot) -> None:
    async def story() -> None:
        slot.server.loses_all = True
        await slot.end_attempt()
        slot.server.loses_all = False
        await slot.wait(60)
        assert slot.server.sent == [1, 2], "not at once: the server may only be slow"
        assert slot.path.stat().st_size > 0
        await slot.wait(5 * LONGEST_PAUSE)

    asyncio.run(story())
    assert slot.server.sent == [1, 2, 1, 2]
    assert slot.path.stat().st_size == 0


def test_stream_of_an_absent_server_does_not_grow(slot: Slot) -> None:
    async def story() -> None:
        slot.server.loses_all = True
        slot.server.waiting = BACKLOG
        await slot.end_attempt()
        await slot.wait(10 * LONGEST_PAUSE)
        assert slot.server.sent == [1, 2]
        slot.server.loses_all, slot.server.waiting = False, 0
        await slot.wait(2 * LONGEST_PAUSE + 2 * offers.OFFER_SECONDS)

    asyncio.run(story())
    assert slot.server.ack == 2
    assert slot.path.stat().st_size == 0
