r"""Values as the user types them: what is a number, what is a list, what no command can carry.

A number is an integer or a decimal of ASCII digits that a double can hold. Everything else is a string:
`1_000`, `nan`, `inf`, `0x10`, full-width digits, `1e999`. The text of a value is never changed; `007` is
the number 7 and is put into commands as `007`.

In a list a comma separates. `\,` is a literal comma. Backslashes mean something only directly before a
comma, where each two stand for one: `C:\dir\\,D:\x` is the two values `C:\dir\` and `D:\x`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence

from augury.spec import Value

MAX_WORD_BYTES = 128 * 1024 - 1
"""Linux gives a word of a command, or a variable with its name, at most 128 KiB with the final NUL."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_DIGITS = 400
_LIST_PIECE = re.compile(r"(\\*),|([^,\\]+|\\+)")


def number(text: str) -> int | float | None:
    """Return the finite number that `text` spells, None when it is not one."""
    if _INTEGER.fullmatch(text) and len(text) <= _MAX_DIGITS:
        value = int(text)
        return value if abs(value) <= sys.float_info.max else None
    if _DECIMAL.fullmatch(text):
        decimal = float(text)
        return decimal if math.isfinite(decimal) else None
    return None


def typed(text: str) -> Value:
    """Return the value of `text`: an int or a float where it spells one, else the text itself."""
    value = number(text)
    return text if value is None else value


def split_list(text: str) -> list[str]:
    """Split at the commas that no backslash escapes."""
    items = [""]
    for match in _LIST_PIECE.finditer(text):
        slashes, literal = match.groups()
        if literal is not None:
            items[-1] += literal
            continue
        items[-1] += "\\" * (len(slashes) // 2)
        if len(slashes) % 2:
            items[-1] += ","
        else:
            items.append("")
    return items


def join_list(texts: Sequence[str]) -> str:
    """Join texts so that `split_list` gives them back."""
    escaped = [re.sub(r"(\\*),", r"\1\1\\,", text) for text in texts]
    doubled = [re.sub(r"(\\+)\Z", r"\1\1", text) for text in escaped[:-1]]
    return ",".join([*doubled, *escaped[-1:]])


def show(text: str, limit: int = 80) -> str:
    """Return `text` fit for a message: on one line, without control characters, cut at `limit`."""
    clipped = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in clipped)


def unfit(text: str, room: int = MAX_WORD_BYTES) -> str | None:
    """Return why no command can carry `text` (as in "it ..."), or None when one can.

    Args:
        text: a value, or a word of a command
        room: bytes that are left for it
    """
    if "\0" in text:
        return "holds a NUL character, which no command can carry"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    return f"is longer than the {room} bytes that a command can carry" if size > room else None


def first_repeated(texts: Iterable[str]) -> str | None:
    """Return the first text that stands there twice, or None."""
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None
