"""The placeholders of a shell line: where one stands, and why no value may stand there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Place = Literal["plain", "double", "single", "comment"]


class Refusal(NamedTuple):
    """Why no value may stand somewhere, as in "it ...", and the fix."""

    problem: str
    fix: str
    """With `{name}` and `{variable}` to be filled in."""


@dataclass(slots=True)
class Slot:
    """A placeholder in a shell line."""

    name: str
    start: int
    end: int
    place: Place
    refusal: Refusal | None = None
    starts_word: bool = False
    """Whether its value begins a word, so that a leading `-` would make it an option."""
    is_command: bool = False
    """Whether the word it starts names the command, so that `if` or `A=1` there would be read as such."""
    in_braces: bool = False
    """Whether an unclosed `{` stands before it in its word, so that a comma could split the word."""
    glued: bool = False
    """Whether plain characters would melt into a neighbour here (`$P:x:`, `:x:>log`)."""


BACKTICKS = Refusal("stands inside backticks", "write $(...) instead of `...`")
ANSI = Refusal("stands inside $'...'", "close the quote before it: $'...':{name}:$'...'")
ARITHMETIC = Refusal(
    "stands in an arithmetic expression, where a value can run commands",
    "write $(expr :{name}: + 1), or let the program compute it (two subshells are written as '( (')",
)
EXPANSION = Refusal(
    "stands inside ${{...}}", "put it into a variable first, as in v=:{name}: and then ${{x:-$v}}"
)
HERE_DOCUMENT = Refusal(
    "stands inside a here-document",
    "write ${{{variable}}} there, and the end word of the here-document without quotes",
)
END_WORD = Refusal("stands in the end word of a here-document", "use a fixed end word")
BACKSLASH = Refusal("follows a backslash", "double the backslash, or remove it")
DOLLAR = Refusal("follows a '$'", "write \\$:{name}: for a dollar sign before the value")
SUBSCRIPT = Refusal(
    "stands in the subscript of an array, where a value can run commands",
    "put quotes around the whole word, or use a fixed subscript",
)
DUPLICATION = Refusal(
    "is part of the target of '>&' or '<&', which bash reads twice, so that a value can run commands",
    "write >:{name}: 2>&1 for a file",
)
TEST = Refusal(
    "is compared as a number in [[ ]], where a value can run commands",
    "use [ ... ] instead of [[ ... ]]",
)
_AFTER = "move it before that spot, or put it into a variable at the start: v=:{name}:; ... $v"
AFTER_ANSI = Refusal("comes after \\' in $'...', which shells read differently", _AFTER)
AFTER_EXPANSION = Refusal('comes after a single quote in "${{...}}", which shells read differently', _AFTER)
AFTER_ARITHMETIC = Refusal("comes after a quote or '#' in $((...)), which shells read differently", _AFTER)
AFTER_BRACE_COMMAND = Refusal("comes after ${{ command; }}, which only the newest shells know", _AFTER)
AFTER_DOCUMENT = Refusal("comes after a here-document that shells read differently", _AFTER)
