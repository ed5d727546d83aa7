"""AUGURY_SLOTS: given once, it holds for the starts to come."""

from __future__ import annotations

from pathlib import Path

import pytest

from augury.local.home import Home
from augury.local.slots import asked_in_vain, settled_slots


def test_slots_given_at_a_start_hold_for_the_next_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert settled_slots(home, {"A": "b"}) == {"A": "b"}
    assert settled_slots(home, {"AUGURY_SLOTS": "4"}) == {"AUGURY_SLOTS": "4"}
    assert settled_slots(home, {"A": "b"}) == {"A": "b", "AUGURY_SLOTS": "4"}
    assert settled_slots(home, {"AUGURY_SLOTS": "2"})["AUGURY_SLOTS"] == "2"
    assert settled_slots(home, {})["AUGURY_SLOTS"] == "2"


def test_auto_goes_back_to_the_default(tmp_path: Path) -> None:
    home = Home(tmp_path)
    settled_slots(home, {"AUGURY_SLOTS": "4"})
    assert settled_slots(home, {"AUGURY_SLOTS": "auto"}) == {}
    assert settled_slots(home, {}) == {}


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", "²"])
def test_slots_that_cannot_be_used_are_not_kept(tmp_path: Path, wrong: str) -> None:
    home = Home(tmp_path)
    settled_slots(home, {"AUGURY_SLOTS": "4"})
    # It reaches the worker, which names it.
    assert settled_slots(home, {"AUGURY_SLOTS": wrong}) == {"AUGURY_SLOTS": wrong}
    assert settled_slots(home, {}) == {"AUGURY_SLOTS": "4"}


def test_other_slots_than_those_of_the_instance_that_lives_are_noticed(tmp_path: Path) -> None:
    here = {"AUGURY_HOME": str(tmp_path / "home")}
    assert asked_in_vain(here) is None
    assert asked_in_vain(here | {"AUGURY_SLOTS": "4"}) == "4"
    (tmp_path / "home").mkdir(mode=0o700)
    settled_slots(Home(tmp_path / "home"), {"AUGURY_SLOTS": "4"})
    assert asked_in_vain(here | {"AUGURY_SLOTS": "4"}) is None
    assert asked_in_vain(here | {"AUGURY_SLOTS": "8"}) == "8"
    assert asked_in_vain(here | {"AUGURY_SLOTS": "auto"}) == "auto"
