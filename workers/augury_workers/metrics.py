# ruff: noqa: PTH116
# Paths are plain strings here, as the system calls take them.
"""Metric points: the tolerant parser of lines, the tail of a metrics file, patterns for output."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from augury_workers import protocol

NAME_LIMIT = 1000
"""The longest metric name, in characters."""

LINE_LIMIT = 64 * 1024
"""Longer lines are no points, and output is cut there before patterns look at it."""

READ_BYTES = 256 * 1024

_INDEX_LIMIT = 2**63


class BadLineError(ValueError):
    """A line of the metrics file that is no point; the text says why."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric; index and time are None where the line has none."""

    name: str
    value: float
    index: int | None = None
    time: float | None = None


def parse_line(line: bytes) -> Point:
    """Read one JSON line `{"name", "value", "index"?, "time"?}`.

    NaN and infinities may be JSON tokens or texts, numbers may be texts, true and false are 1 and 0.

    Raises:
        BadLineError: the line is no such object.
    """
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLineError("it is not JSON") from error
    if not isinstance(body, dict):
        raise BadLineError("it is not a JSON object")
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise BadLineError('it has no "name"')
    if len(name) > NAME_LIMIT:
        raise BadLineError(f"its name has more than {NAME_LIMIT} characters")
    if "value" not in body:
        raise BadLineError('it has no "value"')
    when = body.get("time")
    # A lone surrogate is no character and could not be stored.
    name = name.encode("utf-8", "replace").decode()
    return Point(name, _number(body["value"], "value"), _index(body.get("index")), _time(when))


def _number(value: Any, what: str) -> float:
    if isinstance(value, str) and "_" in value:
        raise BadLineError(f"its {what} is not a number")
    if not isinstance(value, int | float | str):
        raise BadLineError(f"its {what} is not a number")
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")  # type: ignore[operator]
    except ValueError as error:
        raise BadLineError(f"its {what} is not a number") from error


def _index(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        raise BadLineError("its index is not a whole number")
    if not -_INDEX_LIMIT <= value < _INDEX_LIMIT:
        raise BadLineError("its index does not fit into 64 bits")
    return int(value)


def _time(value: Any) -> float | None:
    if isinstance(value, int | float) and 0 <= value < 1e11:
        return float(value)
    return None


class Numbering:
    """Gives a point without an index the previous index of its name + 1; the first one gets 0."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def index(self, point: Point) -> int:
        """Return the point's index and remember it."""
        index = self._last.get(point.name, -1) + 1 if point.index is None else point.index
        self._last[point.name] = index
        return index


def reports(points: Iterable[Point], numbering: Numbering, now: float) -> Iterator[dict[str, Any]]:
    """Return the reports of points: one per name and 500 points; `now` is the time of those without one."""
    by_name: dict[str, list[list[Any]]] = {}
    for point in points:
        when = now if point.time is None else point.time
        entry = [numbering.index(point), protocol.encode_value(point.value), when]
        by_name.setdefault(point.name, []).append(entry)
    step = protocol.POINTS_PER_REPORT
    for name, entries in by_name.items():
        for start in range(0, len(entries), step):
            yield {"k": "metric", "name": name, "points": entries[start : start + step]}


@dataclass
class Lines:
    """Cuts a stream of bytes into lines; with `returns`, a carriage return ends one too (progress bars)."""

    returns: bool = False
    _rest: bytes = b""
    _skipping: bool = field(default=False, repr=False)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their ends; beyond 64 KiB they are cut."""
        if self.returns:
            data = data.replace(b"\r", b"\n")
        parts = (self._rest + data).split(b"\n")
        self._rest = parts.pop()
        if parts and self._skipping:
            parts[0] = b""
            self._skipping = False
        if len(self._rest) > LINE_LIMIT:
            if not self._skipping:
                parts.append(self._rest[:LINE_LIMIT])
            self._skipping, self._rest = True, b""
        return [part[:LINE_LIMIT] for part in parts if part]

    def end(self) -> list[bytes]:
        """Return the unfinished last line."""
        rest, self._rest = self._rest, b""
        return [] if self._skipping or not rest else [rest]


class Tail:
    """Reads the points that a run appends to its metrics file; never more than what is asked for."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._inode = -1
        self._offset = 0
        self._lines = Lines()
        self.exhausted = False
        """True when the last `read` came to the end of the file."""
        self.bad = 0
        """How many lines were no points."""
        self.first_bad: str | None = None
        """Why the first of them was none."""

    def read(self, *, last: bool = False) -> list[Point]:
        """Return the points of up to 256 KiB that were added; `last` takes an unfinished line too.

        A file that was truncated or replaced (`>` instead of `>>`) is read from its start.
        """
        data = self._read_more()
        self.exhausted = len(data) < READ_BYTES
        lines = self._lines.feed(data) if data else []
        if last and self.exhausted:
            lines += self._lines.end()
        points = []
        for line in lines:
            try:
                points.append(parse_line(line))
            except BadLineError as error:
                self._count_bad(str(error), line)
        return points

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _count_bad(self, reason: str, line: bytes) -> None:
        if not line.strip():
            return
        self.bad += 1
        if self.first_bad is None:
            text = line[:80].decode("utf-8", "replace")
            self.first_bad = f"{reason}: {text!r}"

    def _status(self) -> os.stat_result | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _read_more(self) -> bytes:
        status = self._status()
        if status is None:
            return b""
        if status.st_ino != self._inode:
            self._inode, self._offset = status.st_ino, 0
            self.close()
        if status.st_size < self._offset:
            self._offset = 0
            self._lines = Lines()
        if status.st_size == self._offset:
            return b""
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            data = os.pread(self._file, READ_BYTES, self._offset)
        except OSError:
            return b""
        self._offset += len(data)
        return data


class Patterns:
    """The regular expressions that read metrics out of a run's output, line by line."""

    def __init__(self, patterns: Sequence[tuple[str, str]]) -> None:
        self._patterns = [(name, re.compile(text)) for name, text in patterns]
        self._lines = Lines(returns=True)

    def feed(self, data: bytes) -> list[Point]:
        """Return the points in the lines that `data` completes."""
        return self._match(self._lines.feed(data))

    def end(self) -> list[Point]:
        """Return the points in the unfinished last line."""
        return self._match(self._lines.end())

    def _match(self, lines: list[bytes]) -> list[Point]:
        points = []
        for line in lines:
            text = line.decode("utf-8", "replace")
            for name, pattern in self._patterns:
                for match in pattern.finditer(text):
                    value = _matched_value(match)
                    if value is not None:
                        points.append(Point(name, value))
        return points


def _matched_value(match: re.Match[str]) -> float | None:
    """Return the group named `value`, else the first group, else the whole match, as a number."""
    groups = match.groupdict()
    text = groups["value"] if "value" in groups else match.group(1 if match.re.groups else 0)
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
