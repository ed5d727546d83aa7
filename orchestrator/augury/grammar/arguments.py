"""Where the options of Augury end and the user's command begins.

`--` ends the options; what follows is the command. Without it the first bare word decides: if it holds
white space it is the whole command and options may still follow; else it and all that follows is the
command, whatever it looks like. So each of these means the same:

    hyper grid --param a=1,2 -t K80 -- python train.py --size :a:
    hyper grid --param a=1,2 -t K80 python train.py --size :a:
    hyper grid --param a=1,2 "python train.py --size :a:" -t K80
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from augury.errors import UsageError
from augury.grammar.values import show

_SCRIPT_ENDINGS = (".sh", ".bash", ".py", ".R", ".jl", ".pl")


def holds_white_space(word: str) -> bool:
    """Return whether a shell would see more than one word here."""
    return any(character in word for character in " \t\n\r\v\f")


@dataclass(frozen=True, slots=True)
class _Split:
    options: list[str]
    words: list[str]
    after_dashes: bool
    """Whether `--` told where the command starts."""


def split_command(
    args: Sequence[str], options_with_value: Collection[str], flags: Collection[str]
) -> tuple[list[str], list[str]]:
    """Split the raw words after `hyper grid` into option words and command words.

    Args:
        args: the words as the shell gave them
        options_with_value: options that take one value, as `-t` and `--machine-type`
        flags: options that take none, as `-f` and `--json`

    Returns:
        The option words, unknown options among them for the option parser to refuse, and the words of
        the command, `--` taken out.

    Raises:
        UsageError: a second bare word follows a command that was quoted as a whole.
    """
    split = _split(args, options_with_value, flags)
    return split.options, split.words


def swallowed_options(
    args: Sequence[str], options_with_value: Collection[str], flags: Collection[str]
) -> list[str]:
    """Return a notice where an option of ours directly follows a one-word command and so became part of it.

    `./setup.sh -t K80` is such a case. Nothing is said after `--`, which settles it, nor about a short
    option of what looks like a program (`python -m train`).
    """
    split = _split(args, options_with_value, flags)
    if split.after_dashes or len(split.words) < 2:
        return []
    program, follower = split.words[:2]
    is_script = "/" in program or program.endswith(_SCRIPT_ENDINGS)
    if follower.startswith("--"):
        option = follower.partition("=")[0]
    else:
        option = follower[:2] if is_script else ""
    if option not in options_with_value and option not in flags:
        return []
    return [
        f"'{show(option)}' went to the command, as all that follows '{show(program)}' does; "
        f"put options of augury before the command, and '--' between them"
    ]


def _split(args: Sequence[str], options_with_value: Collection[str], flags: Collection[str]) -> _Split:
    options: list[str] = []
    whole: list[str] = []
    index = 0
    while index < len(args):
        word = args[index]
        if word == "--":
            rest = list(args[index + 1 :])
            if whole and rest:
                raise _second_command(whole[0], rest[0])
            return _Split(options, whole or rest, after_dashes=True)
        if _is_option(word):
            takes_next = _takes_next(word, options_with_value, flags) and index + 1 < len(args)
            count = 2 if takes_next and args[index + 1] != "--" else 1
            options += args[index : index + count]
            index += count
            continue
        if whole:
            raise _second_command(whole[0], word)
        if not holds_white_space(word):
            return _Split(options, list(args[index:]), after_dashes=False)
        whole = [word]
        index += 1
    return _Split(options, whole, after_dashes=False)


def _is_option(word: str) -> bool:
    """Return whether `word` is written as an option; a quoted command may start with `-` only after `--`."""
    return len(word) > 1 and word.startswith("-")


def _takes_next(word: str, options_with_value: Collection[str], flags: Collection[str]) -> bool:
    """Return whether the word after this option is its value: `-t K80`, not `-tK80` nor `--type=K80`."""
    if word.startswith("--"):
        return word in options_with_value
    for position, letter in enumerate(word[1:], start=1):
        option = f"-{letter}"
        if option in options_with_value:
            return position == len(word) - 1
        if option not in flags:
            return False
    return False


def _second_command(command: str, word: str) -> UsageError:
    return UsageError(
        f"unexpected word '{show(word)}' after the command '{show(command)}': quote the whole command as one "
        f"word, or write '--' and its words unquoted"
    )
