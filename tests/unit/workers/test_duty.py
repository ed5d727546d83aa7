"""When a worker takes runs, when it does not, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from augury_workers import duty
from augury_workers.duty import Denials, Duty
from augury_workers.hello import Said

UP, DRAINED = Said(False, ""), Said(True, "")


@dataclass
class Hands:
    """Notes what is done to a worker."""

    running: int = 0
    begun: int = 0
    done: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def busy(self) -> bool:
        return self.running > 0

    def taken(self) -> int:
        return self.begun

    def consume(self) -> None:
        self.done.append("consume")

    def cancel(self) -> None:
        self.done.append("cancel")

    def end(self, code: int) -> None:
        self.done.append(f"end {code}")

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_a_drained_worker_takes_nothing_new_until_it_is_undrained(hands: Hands) -> None:
    one = Duty(hands, Denials(), None, 0.0)
    for now, said in ((1, UP), (2, DRAINED), (3, DRAINED), (4, None), (5, UP), (6, UP)):
        one.look(said, now)
    assert hands.done == ["cancel", "consume"]
    assert [text.partition(":")[0] for text in hands.said] == ["drained", "undrained"]


def test_a_broker_that_does_not_answer_changes_nothing(hands: Hands) -> None:
    one = Duty(hands, Denials(), None, 0.0)
    one.look(None, 1.0)
    assert hands.done == []


@pytest.mark.parametrize(
    ("reason", "code", "words"), [("key", 2, "AUGURY_SECRET_FILE"), ("version", 1, "install")]
)
def test_a_refused_worker_finishes_what_it_runs_and_ends(
    hands: Hands, reason: str, code: int, words: str
) -> None:
    one = Duty(hands, Denials(), None, 0.0)
    hands.running = 1
    one.look(Said(False, reason), 1.0)
    one.look(Said(False, reason), 100.0)
    assert hands.done == ["cancel"]
    hands.running = 0
    one.look(None, 101.0)
    assert hands.done == ["cancel", f"end {code}"]
    [said] = hands.said
    assert words in said
    assert "when its runs have ended" in said


def test_a_refused_claim_is_told_by_the_pool_child(hands: Hands) -> None:
    denials = Denials()
    one = Duty(hands, denials, None, 0.0)
    denials.tell("key")
    one.look(UP, 1.0)
    assert hands.done == ["cancel"]
    one.look(UP, 1.0 + duty.SETTLE_SECONDS)
    assert hands.done == ["cancel", "end 2"]


def test_an_idle_worker_stops_taking_doorbells_waits_and_ends(hands: Hands) -> None:
    one = Duty(hands, Denials(), 60.0, 0.0)
    one.look(UP, 59.0)
    assert hands.done == []
    one.look(UP, 60.0)
    assert hands.done == ["cancel"]
    one.look(UP, 61.0)
    assert hands.done == ["cancel"], "a doorbell may still be on its way"
    one.look(UP, 63.0)
    assert hands.done == ["cancel", "end 0"]


def test_a_doorbell_in_hand_when_an_idle_worker_stops_is_run_before_it_ends(hands: Hands) -> None:
    one = Duty(hands, Denials(), 60.0, 0.0)
    one.look(UP, 60.0)
    hands.running = hands.begun = 1
    one.look(UP, 64.0)
    assert hands.done == ["cancel"]
    hands.running = 0
    one.look(UP, 200.0)
    assert hands.done == ["cancel", "end 0"]


def test_runs_shorter_than_a_look_keep_a_worker_from_being_idle(hands: Hands) -> None:
    one = Duty(hands, Denials(), 60.0, 0.0)
    for now in range(1, 200):
        hands.begun = now // 50
        one.look(UP, float(now))
    assert hands.done == []
    one.look(UP, 210.0)
    assert hands.done == ["cancel"]


def test_a_drained_worker_may_end_idle(hands: Hands) -> None:
    one = Duty(hands, Denials(), 60.0, 0.0)
    one.look(DRAINED, 1.0)
    one.look(DRAINED, 61.0)
    assert hands.done == ["cancel", "end 0"]
