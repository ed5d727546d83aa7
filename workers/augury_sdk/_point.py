"""One metric point as one line of JSON. Pure: no file, no clock, no warning."""

from __future__ import annotations

import math
import operator
from json.encoder import encode_basestring_ascii
from typing import Any

NAME_LIMIT = 1000
"""The longest metric name, in characters."""

INDEX_LIMIT = 2**63
"""An index lies in [-INDEX_LIMIT, INDEX_LIMIT)."""


class Rejected(ValueError):
    """A name, value or index that cannot be part of a point; the text says why and what to send instead."""


def line(name: str, value: str, index: int | None, when: float) -> bytes:
    """Join the encoded name and value with an index and a time (seconds since 1970) to a line."""
    position = "" if index is None else f', "index": {index}'
    return f'{{"name": {name}, "value": {value}{position}, "time": {when:.6f}}}\n'.encode("ascii")


def name_text(name: object) -> str:
    """Return a metric name as a JSON string in ASCII; lone surrogates, which are no characters, become `?`.

    Raises:
        Rejected: not a text, blank, longer than `NAME_LIMIT`, or with a NUL character.
    """
    if not isinstance(name, str):
        raise Rejected(f"the name of a metric is a text, not of type {type(name).__name__}")
    if not name.strip():
        raise Rejected("the name of a metric is empty")
    if len(name) > NAME_LIMIT:
        raise Rejected(f"the metric name {name[:40]!r}... has more than {NAME_LIMIT} characters")
    if "\0" in name:
        raise Rejected(f"the metric name {name!r} holds a NUL character")
    return encode_basestring_ascii(name.encode("utf-8", "replace").decode("utf-8"))


def value_text(value: object) -> str:
    """Return a metric value as JSON; `NaN` and the infinities as texts.

    Takes int, float, bool (as 0 or 1), NumPy scalars, arrays and tensors of one element, and anything else
    that converts to float, text excepted.

    Raises:
        Rejected: not a number, or an integer beyond the range of a float.
    """
    number = value if type(value) is float else _number(value)
    if math.isfinite(number):
        return repr(number)
    if math.isnan(number):
        return '"NaN"'
    return '"Infinity"' if number > 0 else '"-Infinity"'


def index_number(index: object) -> int:
    """Return an index as int; whole numbers of any kind are taken (NumPy integers, `3.0`).

    Raises:
        Rejected: not a whole number, or beyond 64 bits.
    """
    number = index if type(index) is int else _whole(index)
    if not -INDEX_LIMIT <= number < INDEX_LIMIT:
        raise Rejected("an index must fit into 64 bits")
    return number


def _whole(index: object) -> int:
    try:
        number = _number(index)
    except Rejected:
        raise Rejected(f"an index of type {type(index).__name__} is not a whole number") from None
    if isinstance(number, float) and not number.is_integer():
        raise Rejected(f"the index {number!r} is not a whole number")
    return int(number)


def _number(value: object) -> int | float:
    try:
        number = _plain(value)
        float(number)
    except OverflowError:
        raise Rejected("the number is beyond the range of a float") from None
    except Exception:  # `item` and `__float__` are foreign code and may raise anything
        if isinstance(value, (str, bytes)):
            raise Rejected("a text is not a metric value, send a number: float(value)") from None
        raise Rejected(f"a value of type {type(value).__name__} is not a number, send int or float") from None
    return number


def _plain(value: Any) -> int | float:
    """Return the builtin number behind `value`; raises anything when there is none."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (str, bytes)):
        raise TypeError("text")
    if isinstance(value, int):
        return int(value)
    if hasattr(value, "__float__"):
        return float(value)
    return operator.index(value)
