"""The words of a list of shell commands: which of them names a command, and what is open around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from augury.grammar import places
from augury.grammar.places import Slot

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\[[^\]]*\])?\+?=")
_OPEN_SUBSCRIPT = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*)?\[[^\]]*")
_CLOSED_SUBSCRIPT = re.compile(r"[^\]\s]*\]\+?=")
_REDIRECTION_FOLLOWS = re.compile(r"[^\s'\"]*[<>]|~")
_BEFORE_COMMAND = frozenset(["if", "then", "else", "elif", "do", "while", "until", "!", "{", "time"])
_NUMBER_TESTS = frozenset(["-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v"])


@dataclass(slots=True)
class Words:
    """How far one list of commands has been read, in words."""

    start: int | None = None
    """Where the word that is being read started, None between words."""
    is_command: bool = False
    expects_command: bool = True
    follows_duplication: bool = False
    """Whether the last operator was `>&` or `<&`."""
    is_duplicated: bool = False
    """Whether the word is what such an operator refers to."""
    cases: int = 0
    """Open `case` commands, whose patterns end in an unbalanced `)`."""
    test_start: int | None = None
    """Number of slots before an open `[[`, None outside."""
    test_of_numbers: bool = False

    def begin(self, at: int) -> None:
        """Note that a character of a word stands at `at`."""
        if self.start is None:
            self.start, self.is_command = at, self.expects_command
            self.is_duplicated = self.follows_duplication
            self.expects_command = self.follows_duplication = False

    def end(self, line: str, at: int, slots: Sequence[Slot]) -> None:
        """Note that no word goes on at `at`."""
        if self.start is None:
            return
        word, self.start, self.is_duplicated = line[self.start : at], None, False
        if self.is_command:
            self.expects_command = word in _BEFORE_COMMAND or _ASSIGNMENT.match(word) is not None
            self.cases += (word == "case") - (word == "esac" and self.cases > 0)
        if word == "[[" and self.is_command:
            self.test_start = len(slots)
        elif word == "]]":
            self.end_test(slots)
        elif word in _NUMBER_TESTS and self.test_start is not None:
            self.test_of_numbers = True

    def end_test(self, slots: Sequence[Slot]) -> None:
        """Close `[[`, whose operands bash evaluates when it compares them as numbers."""
        if self.test_of_numbers:
            for slot in slots[self.test_start :]:
                slot.refusal = slot.refusal or places.TEST
        self.test_start, self.test_of_numbers = None, False

    def note(self, slot: Slot, line: str) -> None:
        """Fill in what the word around `slot` means for it."""
        if self.start is None:
            return
        before = line[self.start : slot.start]
        slot.starts_word = before in ("", "'", '"')
        if _OPEN_SUBSCRIPT.fullmatch(before) and _CLOSED_SUBSCRIPT.match(line, slot.end):
            slot.refusal = slot.refusal or places.SUBSCRIPT
        if slot.place == "plain":
            slot.is_command = not before and self.is_command
            slot.in_braces = "{" in before
            slot.glued = slot.glued or _REDIRECTION_FOLLOWS.match(line, slot.end) is not None
