"""An order that came late is executed only after the server said that the attempt is still ours."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from augury_workers import confirm, platform
from augury_workers.conversation import GONE_SECONDS
from augury_workers.link import LinkError
from augury_workers.relay import Relay


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeRelay:
    """Answers one after the other, the last one for ever; a cut link is an answer too."""

    def __init__(self, clock: Clock, *answers: str) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.renewed = clock.now
        self.asked = 0

    async def say(self) -> str:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "cut":
            self.clock.now += 1.0
            raise LinkError("cut")
        return answer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(platform, "boottime", lambda: made.now)
    monkeypatch.setattr(confirm.asyncio, "sleep", made.sleep)  # type: ignore[attr-defined]
    return made


def ask(relay: FakeRelay, fence: float | None = None, orphaned_at: float = float("inf")) -> str:
    waiting = confirm.confirm(cast(Relay, relay), fence, lambda: relay.clock.now >= orphaned_at)
    return asyncio.run(waiting)


def test_order_is_late_five_seconds_after_the_first_claim(clock: Clock) -> None:
    assert not confirm.is_late(clock.now - 4.9)
    assert confirm.is_late(clock.now - 5.1)


@pytest.mark.parametrize("answer", ["yours", "superseded"])
def test_answer_of_the_server_decides(clock: Clock, answer: str) -> None:
    assert ask(FakeRelay(clock, answer)) == answer


def test_attempt_whose_hash_was_lost_is_asked_about_again_until_the_leader_has_written_it(
    clock: Clock,
) -> None:
    assert ask(FakeRelay(clock, "gone", "gone", "yours")) == "yours"
    assert ask(FakeRelay(clock, "gone")) == "unknown"
    assert clock.now > 1000.0 + GONE_SECONDS


def test_cut_link_is_tried_as_long_as_the_lease_would_last(clock: Clock) -> None:
    assert ask(FakeRelay(clock, *["cut"] * 50, "yours")) == "yours"
    relay = FakeRelay(clock, "cut")
    assert ask(relay, fence=100.0) == "fenced"
    assert 100.0 < clock.now - relay.renewed < 110.0


def test_nobody_is_asked_when_the_pool_child_is_gone(clock: Clock) -> None:
    relay = FakeRelay(clock, "cut")
    assert ask(relay, orphaned_at=clock.now) == "orphaned"
    assert relay.asked == 0
    assert ask(relay, orphaned_at=clock.now + 20) == "orphaned"
