"""Workers on hosts with cards: a card for each slot, and never two runs on one."""

from __future__ import annotations

import os
import re
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from tests.support import fake_nvml
from worker_stand import Stand, wait_for

pytestmark = pytest.mark.integration

USE = (
    'echo "{run} start $CUDA_VISIBLE_DEVICES" >> {trace}; sleep 0.3; '
    'echo "{run} end $CUDA_VISIBLE_DEVICES" >> {trace}'
)


@pytest.fixture
def cards(own: Stand) -> Stand:
    """A stand on a host with cards."""
    own.variables["AUGURY_NVML"] = fake_nvml.__file__
    return own


def use_cards(stand: Stand, numbers: range) -> None:
    for run in numbers:
        stand.ring(run, shell=USE.format(run=run, trace=stand.folder / "trace"))
    for run in numbers:
        stand.server.final(run, 60)


def check_no_card_was_shared(trace: Path, count: int) -> set[str]:
    """Return the cards that were used; no run began on one before the last on it had ended."""
    by_card: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in trace.read_text().splitlines():
        run, what, card = line.split()
        by_card[card].append((run, what))
    for lines in by_card.values():
        assert [what for _, what in lines] == ["start", "end"] * (len(lines) // 2)
        assert [run for run, _ in lines[::2]] == [run for run, _ in lines[1::2]]
    assert sum(len(lines) for lines in by_card.values()) == 2 * count
    return set(by_card)


def test_each_slot_has_a_card_of_its_own_that_no_two_runs_share(cards: Stand) -> None:
    worker = cards.start_worker(slots=None)
    wait_for(lambda: cards.server.hellos, what="the first hello")
    assert cards.server.hellos[0]["slots"] == 4
    assert cards.server.hellos[0]["types"] == ["K80"]
    use_cards(cards, range(1, 17))
    used = check_no_card_was_shared(cards.folder / "trace", 16)
    assert len(used) == 4
    assert all(re.fullmatch(r"GPU-[0-9a-f]{8}-[0-3]", card) for card in used)
    text = worker.log.read_text()
    assert "4 slots on queue 'k80' (one per card: GPU 0, 1, 2, 3;" in text
    assert re.search(r"GPU 4 is left out: \S+ of root \(pid 1\) holds 900 MiB of its memory", text)
    assert "1 x T4 (GPU 5) start another, augury worker -t T4" in text


def test_slot_whose_process_died_comes_back_with_its_card(cards: Stand) -> None:
    worker = cards.start_worker(slots=None)
    wait_for(lambda: len(worker.supervisors()) == 4, what="the supervisors")
    use_cards(cards, range(1, 3))  # while Celery starts the death of a child ends the worker
    victims = set(worker.children()[:2])
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not victims & set(worker.children()), what="the burial")
    wait_for(lambda: len(worker.supervisors()) == 4, 30, "the supervisors")
    use_cards(cards, range(3, 15))
    assert len(check_no_card_was_shared(cards.folder / "trace", 14)) == 4


def test_second_worker_of_the_host_takes_no_card_of_the_first(cards: Stand) -> None:
    cards.variables["CUDA_VISIBLE_DEVICES"] = "0,1"
    cards.start_worker("--name", "one", slots=None)
    wait_for(lambda: cards.server.hellos, what="the first hello")
    cards.variables["CUDA_VISIBLE_DEVICES"] = "1,2,5"
    second = cards.start_worker("--name", "two", slots=None)
    wait_for(lambda: len({hello["worker"] for hello in cards.server.hellos}) == 2, what="the other hello")
    assert next(hello for hello in cards.server.hellos if hello["worker"].startswith("two@"))["slots"] == 1
    assert "GPU 1 is left out: another worker on this host serves it" in second.log.read_text()


def test_worker_that_was_killed_comes_back_with_all_its_cards(cards: Stand) -> None:
    worker = cards.start_worker(slots=None)
    wait_for(lambda: len(worker.supervisors()) == 4, what="the supervisors")
    worker.process.kill()
    worker.process.wait()
    again = cards.start_worker(slots=None)
    wait_for(lambda: len(again.supervisors()) == 4, what="the supervisors")
    assert cards.server.hellos[-1]["slots"] == 4
    use_cards(cards, range(1, 9))
    assert len(check_no_card_was_shared(cards.folder / "trace", 8)) == 4
