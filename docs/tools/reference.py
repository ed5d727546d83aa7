"""Write the command reference from the help of the commands themselves.

python docs/tools/reference.py            docs/reference/commands.md; a test holds it up to date
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from augury.cli import reserved
from augury.cli.main import run

TARGET = Path(__file__).parents[1] / "reference" / "commands.md"
WIDTH = "82"
"""Columns of the help texts."""

INTRODUCTION = """\
# Command line

This page is made from the `--help` of each command by `docs/tools/reference.py`.

A command exits with 0 when it did what it says, 1 when the server refuses or there is no such thing, 2 for
a wrong command line, and 130 after ^C. `run`, `hyper wait` and `hyper watch` have codes of their own; see
there.
"""

NOT_BUILT = """\
## Options that are not built yet

These words of the predecessor's command line are kept for the same meaning. Each is recognised and refused
in one sentence, with exit code 2.

| option | until then |
|---|---|
"""


@dataclass(frozen=True)
class Help:
    """The help of one command, taken apart."""

    words: tuple[str, ...]
    usage: str
    about: str
    sections: dict[str, str]
    """Heading -> its lines as they are."""

    def below(self) -> Iterator[tuple[str, str]]:
        """Yield the heading and the name of each subcommand."""
        if "COMMAND [ARGS]" not in self.usage:
            return
        for heading, lines in self.sections.items():
            if heading not in ("Options", "Examples"):
                for found in re.finditer(r"^  (\S+)", lines, re.MULTILINE):
                    yield heading, found[1]


def text_of(words: tuple[str, ...]) -> str:
    """Return what `augury WORDS --help` prints."""
    shown, columns = StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with redirect_stdout(shown):
            run([*words, "--help"])
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return shown.getvalue()


def help_of(words: tuple[str, ...]) -> Help:
    """Return the help of the command `words`."""
    blocks = re.split(r"^(?=\S.*:$)", text_of(words), flags=re.MULTILINE)
    usage, about = blocks[0].split("\n\n", 1)
    sections = {}
    for block in blocks[1:]:
        heading, lines = block.split("\n", 1)
        sections[heading.rstrip(":")] = lines.rstrip()
    paragraphs = [" ".join(part.split()) for part in about.strip().split("\n\n")]
    return Help(words, " ".join(usage.split()), "\n\n".join(paragraphs), sections)


def commands() -> Iterator[tuple[str, Help]]:
    """Yield the heading and the help of every command, those that start a search first."""
    for heading, name in help_of(()).below():
        found = help_of((name,))
        inner = sorted(found.below(), key=lambda one: one[0] != "Start a search")
        if not inner or "Examples" in found.sections:
            yield heading, found
        for _, second in inner:
            yield heading, help_of((name, second))


def section(found: Help) -> str:
    """Return the part of the page about one command."""
    lines = [f"### augury {' '.join(found.words)}", "", found.about, ""]
    parts = dict(found.sections)
    if examples := parts.pop("Examples", ""):
        lines += ["```sh", re.sub(r"^  ", "", examples, flags=re.MULTILINE), "```", ""]
    lines += ["```text", found.usage]
    for heading, content in parts.items():
        lines += ["", f"{heading}:", content]
    return "\n".join([*lines, "```", ""])


def page() -> str:
    """Return the whole page."""
    parts, last = [INTRODUCTION], ""
    for heading, found in commands():
        if heading != last:
            parts.append(f"## {heading}\n")
            last = heading
        parts.append(section(found))
    rows = [f"| `{name}` | {_instead(name)} |" for name in reserved.names()]
    return "\n".join([*parts, NOT_BUILT + "\n".join(rows) + "\n"])


def _instead(option: str) -> str:
    sentence = (reserved.refusal("", option) or "").partition("not built yet: ")[2]
    return sentence.replace("|", r"\|")


def main() -> None:
    """Write the page."""
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
