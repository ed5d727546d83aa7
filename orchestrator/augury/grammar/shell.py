"""Where each placeholder stands in a shell line: outside quotes, inside which quotes, or where none may.

The scanner follows the quoting rules that bash and the POSIX shell share. It knows quotes, escapes,
comments, `$(...)` (which starts afresh), `${...}`, backticks, `$'...'`, arithmetic, here-documents and the
unbalanced `)` of `case`. A placeholder gets a refusal where a value could not stand there unharmed, and
from the first spot on that bash and other shells read differently.

A value is never part of the program unless it is made of plain characters only, so a mistake here could
spoil a value but never run one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from augury.errors import UsageError
from augury.grammar import places
from augury.grammar.places import Place, Refusal, Slot
from augury.grammar.words import Words

MAX_DEPTH = 50
"""Quotes and parentheses nested deeper than this are refused."""
MAX_PLACEHOLDERS = 1000
"""A longer line would take seconds to read."""

_NAME = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_]|\\\n)*")
_REDIRECTION = re.compile(r"&>>?|[<>]{1,3}[&|]?")


@dataclass(frozen=True, slots=True)
class Scan:
    """The placeholders of a line in their order, and the quote or parenthesis that is never closed."""

    slots: tuple[Slot, ...]
    unclosed: str | None


@lru_cache(maxsize=64)
def scan(line: str, names: tuple[str, ...]) -> Scan:
    """Find the placeholders of `names` in `line` and where each stands.

    Raises:
        UsageError: the line nests deeper than `MAX_DEPTH` or holds more than `MAX_PLACEHOLDERS`.
    """
    found = {match.start(): match for match in placeholder_pattern(names).finditer(line)}
    if len(found) > MAX_PLACEHOLDERS:
        raise UsageError(
            f"the shell line holds more than {MAX_PLACEHOLDERS} placeholders: move it into a script"
        )
    scanner = _Scanner(line, found)
    scanner.commands(closer="")
    return Scan(tuple(scanner.slots), None if scanner.doubt else scanner.unclosed)


@lru_cache(maxsize=64)
def placeholder_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern that finds `:name:` of each of `names`; its group is the name."""
    return re.compile(f":({'|'.join(map(re.escape, names))}):" if names else r"(?!)()")


@dataclass(frozen=True, slots=True)
class _Document:
    """A here-document whose text is still to come."""

    end_word: str
    strips_tabs: bool
    quoted: bool


@dataclass(slots=True)
class _Scanner:
    line: str
    found: Mapping[int, re.Match[str]]
    """The placeholders by their start."""
    at: int = 0
    depth: int = 0
    slots: list[Slot] = field(default_factory=list)
    words: Words = field(default_factory=Words)
    documents: list[_Document] = field(default_factory=list)
    unclosed: str | None = None
    doubt: Refusal | None = None
    """Set from the first spot on that shells read differently."""
    region: Refusal | None = None
    """The refusal of the construct that is being read."""
    after_name: int = -1
    """Where a `$name` without braces ended."""
    after_dollar: int = -1
    """What follows a `$` that means itself."""
    after_backslash: int = -1
    """What follows a backslash that escapes it."""

    # --- lists of commands

    def commands(self, closer: str) -> None:
        """Read commands up to the unbalanced `closer`, or to the end when it is empty."""
        outer, self.words = self.words, Words()
        region, self.region = self.region, self._region_within(outer)
        if self.documents:
            self._doubt(places.AFTER_DOCUMENT)
        self._enter()
        closed = not closer
        while self.at < len(self.line):
            if self._command_piece(closer):
                closed = True
                break
        self.words.end(self.line, self.at, self.slots)
        self.words.end_test(self.slots)
        self._leave(closed, "(")
        self.words, self.region = outer, region
        if closer and self.documents:
            self._doubt(places.AFTER_DOCUMENT)

    def _command_piece(self, closer: str) -> bool:
        """Read one piece; return whether it was the closer."""
        character = self.line[self.at]
        if self.at in self.found:
            self.words.begin(self.at)
            self._take("plain")
        elif character in " \t":
            self._end_word()
            self.at += 1
        elif character in ";&|()\n<>":
            return self._operator(character, closer)
        elif character == "#" and self.words.start is None:
            end = self.line.find("\n", self.at)
            self._skip_to(len(self.line) if end < 0 else end, "comment")
        elif self.line.startswith("\\\n", self.at):
            self._backslash()
        else:
            self.words.begin(self.at)
            self._quoted_piece(in_double=False)
        return False

    def _operator(self, character: str, closer: str) -> bool:
        """Read what separates words; return whether it was the closer."""
        self._end_word()
        redirection = _REDIRECTION.match(self.line, self.at)
        if redirection:
            self._redirection(redirection.group())
            return False
        self.at += 1
        in_test = self.words.test_start is not None
        if character == "\n":
            self._read_documents()
        elif character == "(" and not in_test and self._peek(self.at) == "(":
            self._step_over_next()
            self._arithmetic()
        elif character == "(" and not in_test:
            self.commands(closer=")")
        elif character == closer and not in_test and not self.words.cases:
            return True
        self.words.expects_command = True
        return False

    def _redirection(self, operator: str) -> None:
        self.words.expects_command = False
        self.words.follows_duplication = operator in (">&", "<&")
        if operator != "<" and not operator.startswith("<<"):
            self.at += len(operator)
            return
        self.at += 1
        if self._peek(self.at) == "<":
            self._step_over_next()
            if self._peek(self.at) == "<":
                self._step_over_next()
            else:
                self._announce_document()

    # --- quotes

    def _quoted_piece(self, in_double: bool) -> None:
        """Read a quote, an escape or an expansion if one starts here, else one character."""
        character = self.line[self.at]
        if character == "\\":
            self._backslash()
        elif character == "`":
            self._backticks()
        elif character == "$":
            self._dollar(in_double)
        elif character == '"' and not in_double:
            self._double()
        elif character == "'" and not in_double:
            self._single()
        else:
            self.at += 1

    def _backslash(self) -> None:
        if self.line.startswith("\n", self.at + 1):
            # The shell drops the pair before it reads words: what stands around it is adjacent.
            self.after_name += 2 * (self.after_name == self.at)
            self.after_dollar += 2 * (self.after_dollar == self.at)
            self.at += 2
        elif self.at + 1 in self.found:
            self.at += 1
            self.after_backslash = self.at
        else:
            self.at += 2

    def _single(self) -> None:
        self.at += 1
        end = self.line.find("'", self.at)
        self._skip_to(len(self.line) if end < 0 else end, "single")
        self._close(end >= 0, "'")

    def _double(self) -> None:
        self._enter()
        self.at += 1
        while self.at < len(self.line) and self.line[self.at] != '"':
            if self.at in self.found:
                self._take("double")
            else:
                self._quoted_piece(in_double=True)
        self._leave(self._close(self.at < len(self.line), '"'), '"')

    def _backticks(self) -> None:
        """Read `...`, which ends at the next backtick without a backslash, whatever quotes stand before."""
        end = self.at + 1
        while end < len(self.line) and self.line[end] != "`":
            end += 2 if self.line[end] == "\\" else 1
        self._skip_to(min(end, len(self.line)), "plain", places.BACKTICKS)
        self._close(end < len(self.line), "`")

    def _ansi(self, start: int) -> None:
        """Read $'...', whose quote stands at `start`."""
        end = start + 1
        while end < len(self.line) and self.line[end] != "'":
            end += 2 if self.line[end] == "\\" else 1
        escapes_quote = "\\'" in self.line[start:end]
        self._skip_to(min(end, len(self.line)), "plain", places.ANSI)
        self._close(end < len(self.line), "$'")
        if escapes_quote:
            self._doubt(places.AFTER_ANSI)

    # --- after a dollar sign

    def _dollar(self, in_double: bool) -> None:
        start = self._past_continuations(self.at + 1)
        character = self.line[start : start + 1]
        name = _NAME.match(self.line, start)
        self.at = start + 1
        if character == "(" and self._peek(self.at) == "(":
            self._step_over_next()
            self._arithmetic()
        elif character == "(":
            self.commands(closer=")")
        elif character == "{":
            self._expansion(in_double)
        elif character == "[":
            self._arithmetic(opener="[", closer="]", depth=1)
        elif character == "'" and not in_double:
            self._ansi(start)
        elif name:
            self.at = self.after_name = name.end()
        elif character and character in "0123456789@*#?$!-":
            self.after_name = self.at
        else:
            self.at = self.after_dollar = start

    def _arithmetic(self, opener: str = "(", closer: str = ")", depth: int = 2) -> None:
        """Read an arithmetic expression of which `depth` parentheses are open."""
        self._enter()
        outer, self.region = self.region, self.region or places.ARITHMETIC
        while depth and self.at < len(self.line):
            character = self.line[self.at]
            depth += (character == opener) - (character == closer)
            if character == "'" or (character == "#" and self.line[self.at - 1].isspace()):
                self._doubt(places.AFTER_ARITHMETIC)
            self._inner_piece(in_double=True)
        self.region = outer
        self._leave(depth == 0, opener)

    def _expansion(self, in_double: bool) -> None:
        """Read the rest of `${...}`."""
        self._enter()
        outer, self.region = self.region, self.region or places.EXPANSION
        if self.line[self.at : self.at + 1] in (" ", "\t", "\n", "|"):
            self._doubt(places.AFTER_BRACE_COMMAND)
        while self.at < len(self.line) and self.line[self.at] != "}":
            if self.line[self.at] == "'" and in_double:
                self._doubt(places.AFTER_EXPANSION)
            self._inner_piece(in_double)
        self.region = outer
        self._leave(self._close(self.at < len(self.line), "${"), "${")

    def _inner_piece(self, in_double: bool) -> None:
        """Read one piece of a region, where double quotes may nest in double quotes."""
        if self.at in self.found:
            self._take("plain")
        elif self.line[self.at] == '"':
            self._double()
        else:
            self._quoted_piece(in_double)

    # --- here-documents

    def _announce_document(self) -> None:
        """Read what follows `<<`; the text itself starts after the end of the line."""
        strips_tabs = self._peek(self.at) == "-"
        if strips_tabs:
            self._step_over_next()
        while self._peek(self.at) in (" ", "\t"):
            self._step_over_next()
        start = self.at
        outer, self.region = self.region, self.region or places.END_WORD
        while self.at < len(self.line) and self.line[self.at] not in " \t\n;&|()<>":
            self._inner_piece(in_double=False)
        self.region = outer
        typed = self.line[start : self.at]
        end_word = re.sub(r"\\(.)|[\"']", r"\1", typed)
        if "$" in typed or "`" in typed:
            self._doubt(places.AFTER_DOCUMENT)
        self.documents.append(_Document(end_word, strips_tabs, quoted=end_word != typed))

    def _read_documents(self) -> None:
        """Skip the texts that were announced on the line that has just ended."""
        documents, self.documents = self.documents, []
        for document in documents:
            continued = ended = False
            while not ended and self.at < len(self.line):
                newline = self.line.find("\n", self.at)
                end = len(self.line) if newline < 0 else newline
                text = self.line[self.at : end]
                self._skip_to(end, "plain", places.HERE_DOCUMENT)
                self.at = end + 1
                bare = text.lstrip("\t") if document.strips_tabs else text
                ended = bare == document.end_word and not continued
                backslashes = len(text) - len(text.rstrip("\\"))
                continued = not document.quoted and backslashes % 2 == 1

    # --- shared steps

    def _take(self, place: Place, refusal: Refusal | None = None) -> None:
        """Record the placeholder that starts here and step over it."""
        match = self.found[self.at]
        slot = Slot(match[1], match.start(), match.end(), place)
        slot.refusal = refusal or self._region_within(self.words) or self.doubt
        if place in ("plain", "double"):
            adjacent = {self.after_backslash: places.BACKSLASH, self.after_dollar: places.DOLLAR}
            slot.refusal = slot.refusal or adjacent.get(self.at)
            slot.glued = self.after_name == self.at
        self.words.note(slot, self.line)
        self.slots.append(slot)
        self.at = slot.end

    def _region_within(self, words: Words) -> Refusal | None:
        """Return the refusal of the construct around a word of `words`, None where values may stand."""
        return self.region or (places.DUPLICATION if words.is_duplicated else None)

    def _skip_to(self, end: int, place: Place, refusal: Refusal | None = None) -> None:
        """Step to `end` over text that has no structure, recording its placeholders."""
        while self.at < end:
            if self.at in self.found:
                self._take(place, refusal)
            else:
                self.at += 1

    def _end_word(self) -> None:
        self.words.end(self.line, self.at, self.slots)

    def _close(self, closed: bool, what: str) -> bool:
        """Step over the closing character that is here, or note that it is missing."""
        if closed:
            self.at += 1
        else:
            self.unclosed = self.unclosed or what
        return closed

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UsageError(f"the shell line nests deeper than {MAX_DEPTH} levels: move it into a script")

    def _leave(self, closed: bool, what: str) -> None:
        self.depth -= 1
        if not closed:
            self.unclosed = self.unclosed or what

    def _doubt(self, reason: Refusal) -> None:
        self.doubt = self.doubt or reason

    def _past_continuations(self, index: int) -> int:
        """Return where the next character stands that the shell sees from `index` on."""
        while self.line.startswith("\\\n", index):
            index += 2
        return index

    def _peek(self, index: int) -> str:
        index = self._past_continuations(index)
        return self.line[index : index + 1]

    def _step_over_next(self) -> None:
        self.at = self._past_continuations(self.at) + 1
