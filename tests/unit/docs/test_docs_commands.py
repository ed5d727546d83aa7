"""Commands and code on the pages are ones that Augury understands."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_pages import DOCS, PAGES, blocks, name

from augury.cli import lazy
from augury.cli.main import run

REFERENCE = runpy.run_path(str(DOCS / "tools" / "reference.py"))
#: Commands that act on this machine by themselves: only their options are looked at.
ACTING = {"up", "down", "doctor", "worker", "flower", "server", "secret", "redis-acl"}


class Reached(BaseException):
    """A command line was understood, and the instance would be asked now."""


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words after `augury` of each command in the shell blocks of a page."""
    for block in blocks(page, "sh"):
        lines = block.replace("\\\n", " ").replace("search=$(", "").replace('"$search"', "59")
        for line in lines.splitlines():
            scanner = shlex.shlex(line.rstrip().removesuffix(")"), posix=True, punctuation_chars=True)
            scanner.whitespace_split = True
            words: list[str] = []
            for word in [*scanner, ";"]:
                if word in (";", "&&", "|"):
                    while words and "=" in words[0]:
                        words.pop(0)
                    if words[:1] == ["augury"] and "..." not in words:
                        yield words[1:]
                    words = []
                else:
                    words.append(word)


@pytest.mark.parametrize("page", [page for page in PAGES if list(command_lines(page))], ids=name)
def test_commands_on_a_page_are_understood(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def client(**_: Any) -> None:
        raise Reached

    monkeypatch.setattr(lazy, "Client", client, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUGURY_METRICS", raising=False)
    monkeypatch.delenv("AUGURY_URL", raising=False)
    monkeypatch.setenv("AUGURY_TOKEN", "admin")
    for words in command_lines(page):
        shown = " ".join(words)
        if words[0] == "token":
            # Of a shared server only: nothing is asked before one is named.
            monkeypatch.setenv("AUGURY_URL", "http://server:8800")
        else:
            monkeypatch.delenv("AUGURY_URL", raising=False)
        if words[0] == "metric":
            assert run(words) == 1, shown
            assert "not inside a run" in capsys.readouterr().err
        elif words[0] in ACTING:
            assert run([*words, "--help"]) == 0, shown
        else:
            with pytest.raises(Reached):
                assert run(words) == "the instance is asked", f"{shown}: {capsys.readouterr().err}"


def test_the_pages_have_commands_and_python_to_check() -> None:
    assert sum(len(list(command_lines(page))) for page in PAGES) > 40
    assert sum(len(list(blocks(page, "python"))) for page in PAGES) > 3


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_on_a_page_compiles_and_imports_what_is_there(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, name(page), "exec")
        for line in re.findall(r"^from (?:augury|augury_sdk) import .+$", block, re.MULTILINE):
            exec(line, {})


def test_the_command_reference_is_up_to_date() -> None:
    assert (DOCS / "reference" / "commands.md").read_text() == REFERENCE["page"](), (
        "run: .venv/bin/python docs/tools/reference.py"
    )


def test_every_command_has_an_example_in_the_reference() -> None:
    found = [(heading, one) for heading, one in REFERENCE["commands"]()]
    assert len(found) >= 24
    for heading, one in found:
        title = " ".join(("augury", *one.words))
        assert heading
        assert one.about, title
        assert f"  {title} " in f"{one.sections.get('Examples', '')} ", title
