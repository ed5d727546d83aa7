"""Command templates: `:name:` is replaced, in one pass, by the value as the user typed it.

A command is an argv, executed without a shell, or one shell line. In a shell line a value made of plain
characters only is put in as it is; any other stays out of the program and comes by its variable, with
the quotes that its place needs. What is run is the first shell only: an `eval`, `ssh` or inner `bash -c`
reads the value anew.

No value may hold a NUL character, be invalid UTF-8, or make a word (or the whole shell line) longer than
128 KiB: Linux cannot start such a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence

from augury.errors import UsageError
from augury.grammar import hints
from augury.grammar.arguments import holds_white_space
from augury.grammar.names import variable_of
from augury.grammar.places import Slot
from augury.grammar.shell import placeholder_pattern, scan
from augury.grammar.suggest import nearest
from augury.grammar.values import number, show, unfit
from augury.spec import Command, ParameterSpec, ValueSpec

PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
"""A value of these characters only means itself wherever a shell reads it, but see `_rendered`."""

_UNFED = re.compile(r"(?=:([A-Za-z_][A-Za-z0-9_-]{0,63}):)")
_RESERVED = frozenset(
    "if then else elif fi do done case esac while until for in select function time coproc".split()  # noqa: SIM905
)
_DRAWN = "-2.2250738585072014e-308"
"""As long as a number that is drawn from a range gets."""


def command_from_words(words: Sequence[str]) -> Command:
    """Return the command of the words after the options: one word with white space is a shell line.

    Raises:
        UsageError: there is no word, or the command starts with an option.
    """
    if not words or not words[0].strip():
        problem = "the first word of the command is empty" if any(words) else "there is no command"
        raise UsageError(f"{problem}: write it last, as in -- python train.py --rate :rate:")
    if words[0].lstrip().startswith("-"):
        raise UsageError(
            f"the command starts with '{show(words[0].split()[0])}', which looks like an option: "
            "put options before '--' and the program first after it"
        )
    if len(words) == 1 and holds_white_space(words[0]):
        return Command(shell=words[0])
    return Command(argv=tuple(words))


def check(command: Command, names: Collection[str]) -> list[str]:
    """Check that the parameters `names` and the command fit together; return notices.

    Raises:
        UsageError: a parameter is not used, an unfed placeholder looks like a slip of a declared one, a
            placeholder stands where a shell could not take a value, or the command cannot be run.
    """
    pieces = _pieces(command)
    for piece in pieces:
        why = unfit(piece)
        if why:
            raise UsageError(f"the command cannot be run: '{show(piece, 30)}' {why}; put it into a file")
    _check_overlaps(pieces, names)
    unfed = _unfed(pieces, names)
    for name in names:
        if not _is_used(command, name, names):
            raise _unused(command, name, unfed)
    for word in unfed:
        near = nearest(word, names)
        if near:
            raise UsageError(
                f"no parameter feeds ':{word}:' in the command; did you mean ':{near}:'? "
                f"(if ':{word}:' is meant as it stands, rename the parameter '{near}')"
            )
    if command.shell:
        _check_places(command.shell, names)
    notices = [f"':{word}:' in the command is not a parameter and stays as it is" for word in unfed]
    if command.argv:
        notices += hints.spaced_program(command.argv) + hints.shell_words(command.argv)
    return notices


def check_values(command: Command, space: Mapping[str, ParameterSpec]) -> list[str]:
    """Check what depends on the values themselves; return notices. Call it after `check`.

    Raises:
        UsageError: with the longest values the command is longer than Linux can start.
    """
    texts = {name: _longest(spec) for name, spec in space.items()}
    for piece in _pieces(render(command, texts)):
        why = unfit(piece)
        if why:
            raise UsageError(f"with the longest values the command {why}; put long values into files")
    notices = []
    inner_shell = hints.runs_inner_shell(command)
    for name, spec in space.items():
        values = spec.texts if isinstance(spec, ValueSpec) else ()
        dashed = next((text for text in values if text.startswith("-") and number(text) is None), None)
        if dashed is not None and _starts_word(command, name, space):
            notices.append(
                f"the value '{show(dashed, 30)}' of '{name}' starts with '-', so the program may take it for "
                f"an option; write it as --option=:{name}:"
            )
        rough = next((text for text in values if not PLAIN.fullmatch(text)), None)
        if rough is not None and inner_shell:
            notices.append(
                f"the value '{show(rough, 30)}' of '{name}' may reach a second shell (eval, ssh, sh -c), "
                f'which reads it anew; use "${variable_of(name)}" there'
            )
    return notices


def render(command: Command, texts: Mapping[str, str]) -> Command:
    """Replace the placeholders of `texts`; the command must have passed `check`.

    A shell line must be run with the variables of `environment_of(texts)`.
    """
    names = tuple(texts)
    if command.argv:
        pattern = placeholder_pattern(names)
        return Command(argv=tuple(pattern.sub(lambda match: texts[match[1]], word) for word in command.argv))
    line, parts, end = command.shell, [], 0
    for slot in scan(line, names).slots:
        parts += [line[end : slot.start], _rendered(slot, texts[slot.name])]
        end = slot.end
    return Command(shell="".join([*parts, line[end:]]))


def environment_of(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the variable of each value: `{"rate": "0.1"}` -> `{"AUGURY_PARAM_RATE": "0.1"}`."""
    return {variable_of(name): text for name, text in texts.items()}


def display(command: Command) -> str:
    """Return the command for people: one line, control characters escaped, an argv quoted for a shell."""
    if command.shell:
        return show(command.shell, limit=len(command.shell))
    return " ".join(_quoted(word) for word in command.argv)


# --- placeholders


def _pieces(command: Command) -> tuple[str, ...]:
    return command.argv or (command.shell,)


def _is_used(command: Command, name: str, names: Collection[str]) -> bool:
    """Return whether the value of `name` reaches the command: by placeholder or by its variable."""
    by_variable = re.compile(rf"\b(?:{variable_of(name)}|AUGURY_PARAMS)\b")
    if any(by_variable.search(piece) for piece in _pieces(command)):
        return True
    if command.shell:
        return any(s.name == name and s.place != "comment" for s in scan(command.shell, tuple(names)).slots)
    pattern = placeholder_pattern(tuple(names))
    return any(match[1] == name for word in command.argv for match in pattern.finditer(word))


def _unfed(pieces: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the words that look like placeholders and are none of `names`, each once."""
    pattern = placeholder_pattern(tuple(names))
    words: dict[str, None] = {}
    for piece in pieces:
        for rest in pattern.sub("\0", piece).split("\0"):
            for match in _UNFED.finditer(rest):
                word = match[1]
                after = match.start() + len(word) + 2
                is_scope = rest[match.start() - 1 : match.start()] == ":" and rest[after : after + 1] == ":"
                if not is_scope:  # as in C++: std::vector::iterator
                    words[word] = None
    return list(words)


def _check_overlaps(pieces: Sequence[str], names: Collection[str]) -> None:
    pattern = placeholder_pattern(tuple(names))
    for piece in pieces:
        for match in pattern.finditer(piece):
            second = pattern.match(piece, match.end() - 1)
            if second:
                raise UsageError(
                    f"'{match[0]}' and '{second[0]}' cannot share a colon in '{match[0]}{second[1]}:'; write "
                    f"'{match[0]}{second[0]}', or '{match[0]}:{second[0]}' for a colon between the values"
                )


def _unused(command: Command, name: str, unfed: Sequence[str]) -> UsageError:
    text = "\n".join(_pieces(command))
    problem = f"parameter '{name}' is not used: ':{name}:' is not in the command"
    if command.shell and any(slot.name == name for slot in scan(command.shell, (name,)).slots):
        return UsageError(f"parameter '{name}' is not used: ':{name}:' stands only in a comment")
    near = next((word for word in unfed if nearest(word, [name]) or _part_of(word, name)), None)
    if near:
        return UsageError(
            f"parameter '{name}' is not used: the command has ':{near}:', and no parameter of that name: "
            f"did you mean --param {near}=…? (or write ':{name}:' in the command)"
        )
    other = re.search(rf"(?<!\w)(?:\$?\{{{{?|[$%<:]){re.escape(name)}(?![\w-])[}}%>:]{{0,2}}", text)
    if other:
        return UsageError(f"{problem}; write ':{name}:' instead of '{show(other[0])}'")
    if len(unfed) == 1:
        problem += f", and no parameter feeds ':{unfed[0]}:', which is"
    return UsageError(f"{problem}; write ':{name}:' where its value belongs, or remove the parameter")


def _part_of(one: str, other: str) -> bool:
    return min(len(one), len(other)) >= 3 and (one in other or other in one)


def _check_places(line: str, names: Collection[str]) -> None:
    found = scan(line, tuple(names))
    for slot in found.slots:
        if slot.refusal:
            fix = slot.refusal.fix.format(name=slot.name, variable=variable_of(slot.name))
            problem = slot.refusal.problem.format()
            raise UsageError(f"':{slot.name}:' in the command {problem}; {fix}")
    if found.unclosed:
        raise UsageError(
            f"the shell line ends before {found.unclosed} is closed; close it, or put a backslash before it"
        )


def _starts_word(command: Command, name: str, names: Collection[str]) -> bool:
    if command.shell:
        return any(slot.name == name and slot.starts_word for slot in scan(command.shell, tuple(names)).slots)
    return any(word.startswith(f":{name}:") for word in command.argv[1:])


def _longest(spec: ParameterSpec) -> str:
    if isinstance(spec, ValueSpec):
        return max(spec.texts, key=lambda text: len(text.encode()))
    return _DRAWN


# --- rendering


def _rendered(slot: Slot, text: str) -> str:
    """Return what replaces a slot: the text itself where it is harmless, else its variable."""
    melts = slot.glued or (slot.in_braces and ("," in text or ".." in text))
    command_word = slot.is_command and ("=" in text or text in _RESERVED or text.startswith(("-", "+")))
    if PLAIN.fullmatch(text) and not melts and not command_word:
        return text
    variable = f"${{{variable_of(slot.name)}}}"
    if slot.place == "plain":
        return f'"{variable}"'
    return f"'\"{variable}\"'" if slot.place == "single" else variable


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(c if c.isprintable() else _ansi_escape(c) for c in re.sub(r"([\\'])", r"\\\1", word))
    return f"$'{escaped}'"


def _ansi_escape(character: str) -> str:
    if "\x7f" < character <= "\xff":  # \x is a byte to bash, a code point to Python
        return f"\\u{ord(character):04x}"
    return character.encode("unicode_escape").decode("ascii")
