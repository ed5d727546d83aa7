"""`.auguryignore`: what a snapshot leaves out, one pattern a line as in `.gitignore`.

A pattern without a slash, but at its end, fits at any depth; one with a slash is relative to the file. `*`,
`?` and `[a-z]` stay within one name, `**` crosses names, a slash at the end means folders only, `!` takes
something in again (but nothing in a folder that is left out), `#` begins a comment. The last one that fits
decides. Only the file at the top of the tree is read.
"""

from __future__ import annotations

import re
from pathlib import Path

from augury.errors import UsageError

FILE = ".auguryignore"


class Ignored:
    """The patterns of a file."""

    def __init__(self, lines: list[str]) -> None:
        self._rules = [rule for line in lines if (rule := _rule(line)) is not None]
        self._folders: dict[str, bool] = {}

    @staticmethod
    def read(top: str) -> Ignored:
        """Read the file in the folder `top`; raises `UsageError` when it cannot be read."""
        path = Path(top, FILE)
        try:
            return Ignored(path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines())
        except FileNotFoundError:
            return Ignored([])
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error

    def hides(self, name: str, folder: bool = False) -> bool:
        """Tell whether a file or folder, named relative to the top, is left out, or lies in one that is."""
        if not self._rules:
            return False
        parent = name.rpartition("/")[0]
        if parent:
            if parent not in self._folders:
                self._folders[parent] = self.hides(parent, folder=True)
            if self._folders[parent]:
                return True
        for pattern, folders_only, hides in reversed(self._rules):
            if (folder or not folders_only) and pattern.fullmatch(name):
                return hides
        return False


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    text = re.sub(r"(?<!\\)\s+$", "", line)
    if not text or text.startswith("#"):
        return None
    hides = not text.startswith("!")
    text = text if hides else text[1:]
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    text = text.removeprefix("/")
    return re.compile(_regex(text if anchored else f"**/{text}"), re.DOTALL), folders_only, hides


_PIECES = re.compile(
    r"(?P<deep>\*\*/)|(?P<all>/\*\*$)|(?P<star>\*+)|(?P<any>\?)|(?P<set>\[[!^]?\]?[^\]]*\])|\\?(?P<plain>.)",
    re.DOTALL,
)


def _regex(pattern: str) -> str:
    parts = []
    for piece in _PIECES.finditer(pattern):
        kind, text = piece.lastgroup, piece.group()
        if kind == "deep":
            parts.append("(?:.*/)?")
        elif kind == "all":
            parts.append("/.*")
        elif kind == "star":
            parts.append("[^/]*")
        elif kind == "any":
            parts.append("[^/]")
        elif kind == "set":
            inner = text[1:-1].replace("\\", "\\\\")
            parts.append("[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]")
        else:
            parts.append(re.escape(piece.group("plain")))
    return "".join(parts)
