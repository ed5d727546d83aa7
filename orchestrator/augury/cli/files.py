"""Writing a file whole or not at all, and what its cells may hold."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from augury.errors import UsageError


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """Open a text file that takes its name only when the block has ended well.

    Raises:
        UsageError: the folder does not exist or cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", text=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def plain_cell(text: str) -> str:
    """Return a text for a CSV cell that no spreadsheet takes for a formula. Numbers need no such care."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
