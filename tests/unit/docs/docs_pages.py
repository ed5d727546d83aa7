"""The project's pages, read as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
DEPLOY = ROOT / "deploy"
PAGES = [
    page
    for folder, pattern in ((ROOT, "*.md"), (ROOT / "examples", "*.md"), (DEPLOY, "*.md"), (DOCS, "**/*.md"))
    for page in sorted(folder.glob(pattern))
]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    """Return a page's path from the root of the project."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the code blocks of a language."""
    for found in _FENCE.finditer(page.read_text()):
        if found[1] == language:
            yield found[2]


def prose(page: Path) -> str:
    """Return a page without its code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return what a link to a heading of the page may end with."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text.lower())).strip("-") for text in headings}
