"""Output as a terminal shows it: progress bars, erasing, live and in the end."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.cli.output.screen import Lines, writer


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("one\ntwo\n", "one\ntwo\n"),
        ("one\r\ntwo\r\n", "one\ntwo\n"),
        (" 10%\r 50%\r100%\n", "100%\n"),
        ("downloading\rdone\n", "doneloading\n"),
        ("downloading\r\x1b[Kdone\n", "done\n"),
        ("downloading\x1b[2K\rdone\n", "done\n"),
        ("abcdef\b\b\x1b[1Kx\n", "    xf\n"),
        ("1/2\b\b\b2/2\n", "2/2\n"),
        ("\x1b[32mgreen\x1b[0m\x1b[1A\n", "green\n"),
        ("no end", "no end"),
    ],
)
def test_what_a_terminal_would_show(output: str, shown: str) -> None:
    lines = Lines()
    done = [line + "\n" for line in lines.feed(output)]
    assert "".join(done) + lines.open == shown


@given(
    st.lists(st.sampled_from(["ab", "ä", "\r", "\n", "\b", "\x1b[K", "\x1b[2K", "\x1b[31m"])),
    st.integers(1, 5),
)
def test_it_does_not_matter_how_output_is_cut(pieces: list[str], size: int) -> None:
    whole = "".join(pieces)
    once, cut = Lines(), Lines()
    expected = once.feed(whole)
    found = [line for at in range(0, len(whole), size) for line in cut.feed(whole[at : at + size])]
    assert (found, cut.open) == (expected, once.open)


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], str]:
    """Return what reaches a terminal of 20 columns."""
    monkeypatch.setenv("COLUMNS", "20")

    def shown(pieces: list[str]) -> str:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        write = writer(raw=False)
        for piece in [*pieces, None]:
            write(piece)
        return capsys.readouterr().out

    return shown


def test_followed_output_appears_as_it_comes(terminal: Callable[[list[str]], str]) -> None:
    assert terminal(["load", "ing.", "..\nnext"]) == "loading...\nnext"


def test_a_followed_progress_bar_is_drawn_over(terminal: Callable[[list[str]], str]) -> None:
    assert terminal([" 10%", "\r 50%", "\r 60%\r 70%"]) == " 10%\r 50%\x1b[K\r 70%\x1b[K"
    assert terminal([" 10%", "\r100%\nend\n"]) == " 10%\r100%\x1b[K\nend\n"


def test_a_bar_wider_than_the_terminal_is_cut_to_be_drawn_over(terminal: Callable[[list[str]], str]) -> None:
    drawn = terminal(["1" * 30, "\r" + "2" * 30]).split("\r")[-1]
    assert drawn == "2" * 18 + "…\x1b[K"


def test_without_a_terminal_lines_are_printed_when_they_are_finished(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = writer(raw=False)
    write(" 10%\r")
    assert capsys.readouterr().out == ""
    write(" 90%\nrest")
    assert capsys.readouterr().out == " 90%\n"
    write(None)
    assert capsys.readouterr().out == "rest"
