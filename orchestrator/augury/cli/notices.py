"""What is said beside the answer: notices and errors, always on stderr."""

from __future__ import annotations

import sys

from augury.cli.output.text import plain


def say(text: str) -> None:
    """Print one notice on stderr."""
    print(f"Notice: {_lines(text)}", file=sys.stderr, flush=True)


def progress(text: str) -> None:
    """Print one line about what is being done on stderr."""
    print(_lines(text), file=sys.stderr, flush=True)


def fail(text: str) -> None:
    """Print one error on stderr."""
    print(f"Error: {_lines(text)}", file=sys.stderr, flush=True)


def _lines(text: str) -> str:
    """Return text with its line breaks, other control characters escaped: it may quote what a user chose."""
    return "\n".join(plain(line) for line in text.split("\n"))
