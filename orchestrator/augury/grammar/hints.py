"""Notices on commands that are probably not meant as they stand; none of them stops a search."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from augury.grammar.values import show
from augury.spec import Command

_OPERATORS = frozenset(["|", "||", "|&", "&&", "&", ";", "<", "<<", "<<<"])
_REDIRECTION = re.compile(r"((?:[0-9]?|&)>{1,2}(?!=)&?)(\S*)")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{|\()")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_BUILTINS = frozenset(
    "cd source . export ulimit umask alias eval exec set unset trap module".split()  # noqa: SIM905
)
_LONGEST_LINE = 1000
_SHELLS = frozenset(["sh", "bash", "dash", "ksh", "zsh"])
_SCRIPT_OPTION = re.compile(r"-[a-zA-Z]*c")
_INNER_SHELL = re.compile(r"(?:^|[\s;&|(/])(?:eval|trap|let|ssh|(?:ba|da|k|z)?sh\s+-[a-zA-Z]*c)\s")


def shell_words(argv: Sequence[str]) -> list[str]:
    """Return the notice on words that only a shell understands, where no shell will run."""
    program = argv[0]
    if runs_inner_shell(Command(argv=tuple(argv))):
        return []
    wanting = [program] if _ASSIGNMENT.match(program) or program in _BUILTINS else []
    if len(argv) == 1 and re.search(r"[|;&<>]", program):
        wanting.append(program)
    for word in argv:
        variable = _VARIABLE.search(word)
        if word in _OPERATORS or _REDIRECTION.fullmatch(word) or variable:
            wanting.append(word)
    if not wanting:
        return []
    words = ", ".join(f"'{show(word, 30)}'" for word in dict.fromkeys(wanting))
    line = shlex.quote(shell_line(argv))
    # What cannot be copied from a terminal is not offered.
    shown = f": {line}" if line.isprintable() and len(line) <= _LONGEST_LINE else ""
    return [
        f"{words} would mean something to a shell, but this command runs without one; "
        f"if that is not meant, quote the whole command{shown}"
    ]


def shell_line(argv: Sequence[str]) -> str:
    """Return words as one shell line: quoted as far as needed, what a shell is wanted for left to it."""
    line: list[str] = []
    in_front = True
    for word in argv:
        assigned = _ASSIGNMENT.match(word) if in_front else None
        in_front = assigned is not None or word in ("&&", "||", "|", ";", "&", "|&")
        if assigned:
            line.append(word[: assigned.end()] + _quoted(word[assigned.end() :]))
        elif word in _OPERATORS or len(argv) == 1:
            line.append(word)
        elif redirection := _REDIRECTION.fullmatch(word):
            sign, target = redirection[1], redirection[2]
            line.append(sign + _quoted(target) if target else word)
        else:
            line.append(_quoted(word))
    return " ".join(line)


def _quoted(word: str) -> str:
    """Quote one word; a variable in it stays one."""
    if not _VARIABLE.search(word):
        return shlex.quote(word)
    if "$(" in word:
        # A command in it is read anew, with quotes of its own.
        return f'"{word}"'
    return '"' + re.sub(r'([\\"`])', r"\\\1", word) + '"'


def spaced_program(argv: Sequence[str]) -> list[str]:
    """Return the notice on a quoted line that further words turned into the name of a program."""
    if len(argv) < 2 or not any(character in argv[0] for character in " \t\n"):
        return []
    return [
        f"the program is '{show(argv[0])}', white space included; if this is a whole command, put options of "
        f"augury before it and quote it as one word"
    ]


def runs_inner_shell(command: Command) -> bool:
    """Return whether the command hands text to a second reading (`bash -c`, `ssh`, `eval`, `trap`, `let`)."""
    if command.shell:
        return _INNER_SHELL.search(command.shell) is not None
    program = command.argv[0].rpartition("/")[2]
    scripted = any(_SCRIPT_OPTION.fullmatch(word) for word in command.argv[1:4])
    return program == "ssh" or (program in _SHELLS and scripted)
