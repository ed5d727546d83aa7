"""Report one point from a shell: `augury metric NAME VALUE [INDEX]` or `python -m augury_sdk ...`."""

from __future__ import annotations

import re
import sys
import time
from typing import Sequence

from augury_sdk._point import Rejected, index_number, line, name_text, value_text
from augury_sdk._report import METRICS_VARIABLE, metrics_file

USAGE = """\
usage: augury metric NAME VALUE [INDEX]
       python -m augury_sdk NAME VALUE [INDEX]

Report one point of the metric NAME from inside a run. VALUE is a number, nan or inf.
Without INDEX the point gets the previous index of that name + 1; the first is 0.
"""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?|nan)", re.IGNORECASE)


def main(argv: Sequence[str]) -> int:
    """Report the point `argv` = NAME, VALUE and perhaps INDEX; errors go to stderr.

    Returns 0; 1 outside a run or when the point cannot be written; 2 for a wrong command line.
    """
    if len(argv) == 1 and argv[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    if len(argv) not in (2, 3):
        return _fail(2, f"takes NAME VALUE [INDEX], got {len(argv)} words\n{USAGE}")
    try:
        point = _line(*argv)
    except Rejected as problem:
        return _fail(2, str(problem))
    file = metrics_file()
    if file is None:
        return _fail(1, f"not inside a run ({METRICS_VARIABLE} is not set), nothing was recorded")
    try:
        file.append(point)
    except OSError as problem:
        return _fail(1, f"the point could not be written: {problem}")
    return 0


def _line(name: str, value: str, index: str | None = None) -> bytes:
    return line(name_text(name), _value(value.strip()), _index(index), time.time())


def _value(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise Rejected(f"VALUE {text!r} is not a number (like 0.91, 1e-3, nan or inf)")
    return value_text(int(text) if _is_short_integer(text) else float(text))


def _index(text: str | None) -> int | None:
    if text is None:
        return None
    if not _is_short_integer(text.strip()):
        raise Rejected(f"INDEX {text!r} is not a whole number of at most 64 bits")
    return index_number(int(text))


def _is_short_integer(text: str) -> bool:
    # Python refuses to read integers of thousands of digits; as a float they are infinite or exact enough.
    return bool(_INTEGER.fullmatch(text)) and len(text) <= 300


def _fail(code: int, text: str) -> int:
    sys.stderr.write(f"augury metric: {text.rstrip()}\n")
    return code
