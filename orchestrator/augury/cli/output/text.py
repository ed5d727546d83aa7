"""Small pieces of text for people: numbers, times, tables, sparklines."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from augury.run import OPEN_SEARCH_STATES, OPEN_STATES

_BARS = "▁▂▃▄▅▆▇█"


def plain(text: str) -> str:
    """Return text on one line and without terminal control characters, those escaped as in Python."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def number(value: float) -> str:
    """Return a number in six significant digits; whole numbers of type int stay whole."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def size(count: int) -> str:
    """Return a number of bytes such as `12 B`, `3.4 kB`, `1.2 GB`."""
    if count < 1000:
        return f"{count} B"
    power = min(3, int(math.log(count * 1.00005, 1000)) - 1)
    return f"{count / 1000 ** (power + 1):.1f} {('kB', 'MB', 'GB', 'TB')[power]}"


def cell(value: Any) -> str:
    """Return any value as a table shows it; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, int | float) else plain(str(value))


def moment(text: str | None) -> str:
    """Return an ISO 8601 time in this machine's time zone, to the second."""
    if text is None:
        return "-"
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds_between(start: str | None, end: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds from `start` to `end` (to `now` when there is no end); None without a start."""
    if start is None:
        return None
    last = now or datetime.now(UTC) if end is None else datetime.fromisoformat(end)
    return (last - datetime.fromisoformat(start)).total_seconds()


def duration(seconds: float | None) -> str:
    """Return a length of time such as `0.4s`, `12s`, `3m 05s`, `2h 03m`, `4d 01h`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def took(document: Any, now: datetime | None = None) -> str:
    """Return how long a run has been going (until `now`), or went."""
    return duration(seconds_between(document.get("started_at"), document.get("ended_at"), now))


def state(run: Any) -> str:
    """Return the state of a run or search as people read it.

    Beside that of a run stand the exit code it failed by and, as in `complete (no metric)`, a telling cause.
    One that was asked to end and still goes on is `stopping` or `killing`.
    """
    if run.get("want") and run["state"] in (*OPEN_STATES, *OPEN_SEARCH_STATES):
        return {"stop": "stopping", "kill": "killing"}[run["want"]]
    told = [str(run["exit_code"])] if run.get("exit_code") else []
    cause = run.get("cause")
    if cause and cause not in ("exit", run["state"]):
        told.append(cause.replace("_", " "))
    return f"{run['state']} ({', '.join(told)})" if told else str(run["state"])


def width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def clipped(text: str, room: int) -> str:
    """Return `text`, cut to `room` columns with an ellipsis."""
    if width(text) <= room:
        return text
    kept = text[: max(room - 1, 0)]
    while width(kept) > max(room - 1, 0):
        kept = kept[:-1]
    return kept + "…"


def names(found: Sequence[str], most: int = 10) -> str:
    """Return names that users chose in one line, long ones cut and the middle of many left out."""
    shown = [clipped(plain(name), 60) for name in found[:most]]
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(shown) + more


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], room: int | None = None) -> list[str]:
    """Return the lines of a table, columns two spaces apart; the last column is cut to fit `room`."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(width(line[place]) for line in lines) for place in range(len(columns))]
    if room is not None and columns:
        before = sum(widths[:-1]) + 2 * (len(widths) - 1)
        for line in lines:
            line[-1] = clipped(line[-1], max(room - before, 8))
    return [_line(line, widths) for line in lines]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [text + " " * (size - width(text)) for text, size in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()


def sparkline(values: Sequence[float], columns: int = 40) -> str:
    """Return values as bars, at most `columns` of them, each the last of the values it stands for."""
    if not values:
        return ""
    if len(values) > columns:
        values = [values[(place + 1) * len(values) // columns - 1] for place in range(columns)]
    low, high = min(values), max(values)
    if high == low:
        return _BARS[0] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


# A complete escape sequence; its beginning at the end of a text may be continued by the next text.
_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-Z\\`-~])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?\Z")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BUT_MOVES = re.compile("(?!\x08|\x1b\\[[0-2]?K)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ERASE = re.compile(r"\x1b\[[0-2]?K")
_LONGEST_SEQUENCE = 4096


class ControlFilter:
    """Takes terminal control sequences and characters out of a stream of text; keeps `\\n`, `\\t`, `\\r`.

    With `keep_moves` it also keeps what moves within a line: backspace, and the sequences that erase it.
    """

    def __init__(self, keep_moves: bool = False) -> None:
        self._held = ""
        self._keep_moves = keep_moves

    def feed(self, text: str) -> str:
        """Return the next piece without its control sequences; an unfinished one is held back."""
        text = self._held + text
        self._held = ""
        unfinished = _UNFINISHED.search(text)
        if unfinished and len(unfinished[0]) < _LONGEST_SEQUENCE:
            self._held = unfinished[0]
            text = text[: unfinished.start()]
        if not self._keep_moves:
            return _CONTROLS.sub("", _SEQUENCE.sub("", text))
        return _BUT_MOVES.sub("", _SEQUENCE.sub(lambda m: m[0] if _ERASE.fullmatch(m[0]) else "", text))
