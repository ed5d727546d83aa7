"""Notices on commands that want a shell: the line they suggest can be pasted."""

from __future__ import annotations

import os
import re
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.grammar.arguments import split_command
from augury.grammar.hints import shell_words


def suggested(argv: list[str]) -> str:
    """Return the one word that the notice on `argv` suggests to type."""
    (notice,) = shell_words(argv)
    found = re.search(r"quote the whole command: (.*)$", notice)
    assert found is not None, notice
    (line,) = shlex.split(found[1])
    return line


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["python", "train.py", "--name", "two words", "|", "tee", "log"],
         "python train.py --name 'two words' | tee log"),
        (["echo", "it's", ">", "a b.txt"], "echo 'it'\"'\"'s' > 'a b.txt'"),
        (["train", "--tag", "of $USER", "2>&1"], 'train --tag "of $USER" 2>&1'),
        (["A=x y", "B=", "python", "C=1 2"], "A='x y' B='' python 'C=1 2'"),
        (["cd", "src", "&&", "A=1", "python", ":rate:", "*.py"], "cd src && A=1 python :rate: '*.py'"),
        (["echo", "$(date +%s)"], 'echo "$(date +%s)"'),
        (["ls|wc"], "ls|wc"),
    ],
)  # fmt: skip
def test_the_suggested_line_keeps_inner_quotes(argv: list[str], line: str) -> None:
    assert suggested(argv) == line


words = st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="`$"), max_size=8)


@given(st.lists(words, min_size=1, max_size=6).map(lambda found: ["train", *found, "&&", "echo", "a b"]))
def test_the_suggested_line_read_by_a_shell_gives_the_words_again(argv: list[str]) -> None:
    assert shlex.split(suggested(argv)) == argv


def test_a_shell_executes_the_suggested_line_as_it_was_meant() -> None:
    argv = ["printf", "[%s]", "it's", 'say "$WORD" \\', "a  b", "|", "cat"]
    env = {"PATH": os.environ["PATH"], "WORD": "hey you"}
    done = subprocess.run(
        ["bash", "-c", suggested(argv)], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout == '[it\'s][say "hey you" \\][a  b]'


def test_a_line_that_cannot_be_copied_is_not_suggested() -> None:
    for argv in (["echo", "a\nb", "|", "cat"], ["echo", "x" * 2000, "|", "cat"]):
        (notice,) = shell_words(argv)
        assert notice.endswith("quote the whole command")


def test_the_suggested_line_is_taken_as_one_command() -> None:
    line = suggested(["echo", "a b", "|", "cat"])
    assert split_command([line], [], []) == ([], [line])
