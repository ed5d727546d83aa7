"""The output of a run as a terminal shows it in the end: a progress bar is one line, its last."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from typing import TypeAlias

from augury.cli.output.text import ControlFilter, clipped

#: Prints a piece of output; None says that there is no more.
Write: TypeAlias = Callable[[str | None], None]

_MOVES = re.compile(r"([\r\n\x08]|\x1b\[[0-2]?K)")


class Lines:
    """Applies what moves within a line (`\\r`, backspace, erasing); other control sequences are dropped."""

    def __init__(self) -> None:
        self._clean = ControlFilter(keep_moves=True)
        self._at = 0
        self.open = ""
        """The line that is not finished yet."""
        self.overwritten = False
        """Whether something was written over in it."""

    def feed(self, text: str) -> list[str]:
        """Return the lines that `text` finishes, as they look then."""
        done = []
        for piece in _MOVES.split(self._clean.feed(text)):
            if piece == "\n":
                done.append(self.open)
                self.open, self._at, self.overwritten = "", 0, False
            elif piece in ("\r", "\b"):
                self._at = 0 if piece == "\r" else max(self._at - 1, 0)
            elif piece.startswith("\x1b"):
                self._erase(piece[2:-1])
            elif piece:
                self.overwritten = self.overwritten or self._at < len(self.open)
                end = self._at + len(piece)
                self.open = self.open[: self._at].ljust(self._at) + piece + self.open[end:]
                self._at = end
        return done

    def _erase(self, which: str) -> None:
        """Erase the line: from here on, up to here (1), or all of it (2)."""
        rest = self.open[self._at :] if which == "1" else ""
        kept = self.open[: self._at] if which in ("", "0") else " " * self._at if rest else ""
        self.overwritten = True
        self.open = kept + rest


def writer(raw: bool) -> Write:
    """Return what prints output on stdout: live on a terminal, finished lines elsewhere, `raw` as it is."""
    if raw:
        return _print
    return _on_terminal() if sys.stdout.isatty() else _into_file()


def _print(text: str | None) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _into_file() -> Write:
    lines = Lines()

    def write(text: str | None) -> None:
        if text is None:
            _print(lines.open)
        else:
            _print("".join(line + "\n" for line in lines.feed(text)))

    return write


def _on_terminal() -> Write:
    lines, shown = Lines(), ""

    def redrawn(line: str) -> str:
        return line[len(shown) :] if line.startswith(shown) else f"\r{line}\x1b[K"

    def write(text: str | None) -> None:
        nonlocal shown
        if text is None:
            return
        parts = []
        for line in lines.feed(text):
            parts.append(redrawn(line) + "\n")
            shown = ""
        room = shutil.get_terminal_size().columns - 1
        # A bar that fills more than a line could not be drawn over.
        line = clipped(lines.open, room) if lines.overwritten else lines.open
        parts.append(redrawn(line))
        shown = line
        _print("".join(parts))

    return write
