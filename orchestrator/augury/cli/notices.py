"""What is said beside the answer: notices and errors, always on stderr."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print one notice on stderr."""
    print(f"Notice: {text}", file=sys.stderr, flush=True)


def progress(text: str) -> None:
    """Print one line about what is being done on stderr."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> None:
    """Print one error on stderr."""
    print(f"Error: {text}", file=sys.stderr, flush=True)
