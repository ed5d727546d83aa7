"""The `NAME=VALUE` form that many options share, and the two options that are nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from augury.errors import UsageError
from augury.grammar.names import VARIABLE_PREFIX
from augury.grammar.values import MAX_WORD_BYTES, show, unfit

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_THE_RUN = frozenset(
    f"AUGURY_{word}" for word in ("RUN_ID", "SEARCH_ID", "ATTEMPT", "METRICS", "OUTPUT_DIR", "PARAMS")
)


@dataclass(frozen=True, slots=True)
class Given:
    """One use of an option, split at its first `=`; makes the errors about it."""

    option: str
    text: str
    name: str
    value: str

    def wrong(self, problem: str, fix: str) -> UsageError:
        """Return the error that names the option as it was given, the problem and the fix."""
        return UsageError(f"{self.option} {show(self.text)}: {problem}; {fix}")


def split_pair(option: str, text: str, form: str) -> Given:
    """Split `text` at its first `=`.

    Args:
        option: the option it was given to, such as `--param`
        text: what the user typed after it
        form: what is expected there, such as `NAME=V[,V...]`

    Raises:
        UsageError: there is no `=`, or no name before it.
    """
    name, equals, value = text.partition("=")
    given = Given(option, text, name, value)
    if not equals:
        raise given.wrong("there is no '='", f"write {option} {form}")
    if not name:
        raise given.wrong("there is no name before the '='", f"write {option} {form}")
    return given


def parse_env(text: str) -> tuple[str, str]:
    """Read `--env KEY=VALUE`; the first `=` splits.

    Raises:
        UsageError: KEY cannot name a variable or is one that the run sets, or VALUE cannot be carried.
    """
    given = split_pair("--env", text, "KEY=VALUE")
    if not _KEY.fullmatch(given.name):
        raise given.wrong(
            f"'{show(given.name)}' cannot name a variable",
            "use a letter or '_', then letters, digits or '_'",
        )
    if given.name in _OF_THE_RUN or given.name.startswith(VARIABLE_PREFIX):
        raise given.wrong("every run gets this variable from Augury", "choose another name")
    why = unfit(given.value, MAX_WORD_BYTES - len(given.name) - 1)
    if why:
        raise given.wrong(f"the value {why}", "put it into a file and pass the path")
    return given.name, given.value


def parse_metric_regex(text: str) -> tuple[str, str]:
    """Read `--metric-regex NAME=REGEX`; the first `=` splits, white space around NAME is dropped.

    Raises:
        UsageError: REGEX is not one of Python's, or has not exactly one group (the number).
    """
    given = split_pair("--metric-regex", text, "NAME=REGEX")
    name = given.name.strip()
    if not name:
        raise given.wrong("there is no name before the '='", "write --metric-regex 'loss=loss: ([0-9.]+)'")
    if unfit(text):
        raise given.wrong(f"it {unfit(text)}", "use printable text")
    try:
        groups = re.compile(given.value).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise given.wrong(f"the regular expression is not valid ({error})", "correct it") from error
    if groups != 1:
        raise given.wrong(
            f"the regular expression has {groups} groups",
            "put (...) around the number alone, and write (?:...) for any other group",
        )
    return name, given.value
