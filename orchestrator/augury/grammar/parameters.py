r"""Parameters from the command line to specs, and back.

    --param NAME=V[,V...]                       values, in any kind of search
    --param NAME=MIN:MAX[:scaling][:type]       a range, in random and bayesian
    --choice NAME=V[,V...]                      values, whatever they look like
    --json-param NAME='[V, ...]'                values as JSON numbers, strings, true and false

In a grid a lone `MIN:MAX` of numbers is refused, as it was meant for random. In random and bayesian a text
with a colon and without a comma is a range or an error. `\,` is a comma inside a value.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

from augury.errors import UsageError
from augury.grammar.names import NAME_RULE, is_name, variable_of
from augury.grammar.pairs import Given, parse_env, parse_metric_regex, split_pair
from augury.grammar.suggest import did_you_mean
from augury.grammar.values import (
    MAX_WORD_BYTES,
    first_repeated,
    join_list,
    number,
    show,
    split_list,
    typed,
    unfit,
)
from augury.spec import (
    NUMBER_TYPES,
    SCALINGS,
    Kind,
    NumberType,
    ParameterSpec,
    RangeSpec,
    Scaling,
    Value,
    ValueSpec,
    text_of,
)

__all__ = [
    "check_parameters",
    "format_option",
    "format_parameter",
    "parse_env",
    "parse_metric_regex",
    "parse_parameters",
]

_FORMS: Mapping[Kind, str] = {
    "grid": "NAME=V[,V...]",
    "random": "NAME=V[,V...] or NAME=MIN:MAX[:scaling][:type]",
    "bayesian": "NAME=MIN:MAX[:scaling][:type] or NAME=V[,V...]",
    "run": "NAME=V",
}


def parse_parameters(
    kind: Kind, params: Sequence[str], json_params: Sequence[str] = (), choices: Sequence[str] = ()
) -> dict[str, ParameterSpec]:
    """Read the parameters of a search in the order of `--param`, then `--json-param`, then `--choice`.

    Raises:
        UsageError: one is malformed, two share a name or a variable, a search has none. The message
            names the option, the offending piece and the fix.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"unknown kind of search '{kind}': use one of {', '.join(get_args(Kind))}")
    readers: tuple[tuple[str, Sequence[str], str, Callable[[Given], ParameterSpec]], ...] = (
        ("--param", params, _FORMS[kind], lambda given: _plain_spec(kind, given)),
        ("--json-param", json_params, "NAME='[V, ...]'", _json_spec),
        ("--choice", choices, "NAME=V[,V...]", _list_spec),
    )
    space: dict[str, ParameterSpec] = {}
    takers: dict[str, Given] = {}
    for option, texts, form, read in readers:
        for text in texts:
            given = split_pair(option, text, form)
            _check_name(given, takers)
            spec = read(given)
            if kind == "run" and isinstance(spec, ValueSpec) and len(spec.values) > 1:
                raise given.wrong("a run takes one value", r"write '\,' for a comma inside it")
            space[given.name] = spec
    if not space and kind != "run":
        raise UsageError(f"a {kind} search needs a parameter: add --param {_FORMS[kind]}")
    return space


def _check_name(given: Given, takers: dict[str, Given]) -> None:
    """Refuse a name that is malformed or taken, else note it in `takers` (by its variable)."""
    if not is_name(given.name):
        raise given.wrong(f"'{show(given.name)}' cannot name a parameter", NAME_RULE)
    other = takers.setdefault(variable_of(given.name), given)
    if other is given:
        return
    if other.name == given.name:
        raise given.wrong(
            f"parameter '{given.name}' is already given by {other.option} {show(other.text)}",
            "give each name once",
        )
    raise given.wrong(
        f"'{given.name}' and '{other.name}' share the variable {variable_of(given.name)}",
        "rename one of them",
    )


# --- values


def _plain_spec(kind: Kind, given: Given) -> ParameterSpec:
    items = split_list(given.value)
    if len(items) > 1 or ":" not in items[0] or kind == "run":
        return _list_spec(given)
    if kind != "grid":
        return _range_spec(given)
    fields = given.value.split(":")
    if number(fields[0].strip()) is None or number(fields[1].strip()) is None:
        return _list_spec(given)
    raise given.wrong(
        f"a grid takes values, but '{show(given.value)}' reads like a range",
        f"list the values ({given.name}={fields[0].strip()},{fields[1].strip()}), "
        f"use 'hyper random' or 'hyper bayesian' for the range, or {_as_choice(given)}",
    )


def _as_choice(given: Given) -> str:
    text = show(f"{given.name}={given.value}")
    return f"write --choice {shlex.quote(text)} if this text is itself the value"


def _list_spec(given: Given) -> ValueSpec:
    texts = split_list(given.value)
    if texts == [""]:
        raise given.wrong(
            "there is no value after the '='",
            f"write {given.name}=V[,V...] (the empty text is --json-param {given.name}='[\"\"]')",
        )
    for position, text in enumerate(texts, start=1):
        if not text:
            raise given.wrong(
                f"value {position} of {len(texts)} is empty",
                r"remove the extra comma, or write '\,' for a comma inside a value",
            )
        if text != text.strip() and number(text.strip()) is not None:
            raise given.wrong(f"there is white space around the number in '{show(text)}'", "remove it")
    values = ValueSpec(tuple(typed(text) for text in texts), tuple(texts))
    _check_texts(given, values.texts)
    return values


def _check_texts(given: Given, texts: Sequence[str]) -> None:
    room = MAX_WORD_BYTES - len(variable_of(given.name)) - 1
    for text in texts:
        why = unfit(text, room)
        if why:
            raise given.wrong(
                f"the value '{show(text, 30)}' {why}", "put it into a file and search over its path"
            )
    again = first_repeated(texts)
    if again is not None:
        raise given.wrong(
            f"the value '{show(again, 30)}' stands there twice",
            "list each value once (to repeat runs, search over a seed: --param seed=1,2,3)",
        )


# --- ranges


def _range_spec(given: Given) -> RangeSpec:
    fields = [field.strip() for field in given.value.split(":")]
    low, high = _bound(given, "MIN", fields[0]), _bound(given, "MAX", fields[1])
    scaling, number_type = _scaling_and_type(given, [field.lower() for field in fields[2:]])
    try:
        return RangeSpec(low, high, scaling, number_type)
    except UsageError as error:
        raise given.wrong(str(error), _range_fix(given, fields, low, high)) from error


def _bound(given: Given, which: str, text: str) -> float:
    value = number(text)
    if value is not None:
        return value
    raise given.wrong(
        f"{which} '{show(text)}' is not a finite number" if text else f"{which} is missing",
        f"write a range as {given.name}=MIN:MAX[:scaling][:type], or {_as_choice(given)}",
    )


def _range_fix(given: Given, fields: Sequence[str], low: float, high: float) -> str:
    if low == high:
        return f"write {given.name}={fields[0]} for a single value"
    if low > high:
        return f"write {given.name}={':'.join([fields[1], fields[0], *fields[2:]])}"
    return f"correct the range, or {_as_choice(given)}"


def _scaling_and_type(given: Given, words: Sequence[str]) -> tuple[Scaling, NumberType]:
    """Read what follows MIN:MAX: nothing, a scaling, a type, or a scaling and then a type."""
    start = f"{given.name}={':'.join(given.value.split(':')[:2])}"
    if len(words) == 2 and words[0] in NUMBER_TYPES and words[1] in SCALINGS:
        raise given.wrong("the scaling stands before the type", f"write {start}:{words[1]}:{words[0]}")
    if len(words) > 2:
        raise given.wrong(
            f"a range has at most four fields, but this has {len(words) + 2}",
            f"write {start}[:scaling][:type], or {_as_choice(given)}",
        )
    if len(words) == 1 and words[0] in NUMBER_TYPES:
        return "linear", words[0]
    expected = (SCALINGS, NUMBER_TYPES) if len(words) == 2 else ((*SCALINGS, *NUMBER_TYPES),)
    for word, allowed in zip(words, expected, strict=False):
        if word not in allowed:
            raise _unknown_word(given, word, allowed, alone=len(words) == 1)
    scaling = cast(Scaling, words[0]) if words else "linear"
    return scaling, cast(NumberType, words[1]) if len(words) == 2 else "float"


def _unknown_word(given: Given, word: str, allowed: Sequence[str], alone: bool) -> UsageError:
    what = "scaling or type" if alone else ("scaling" if allowed is SCALINGS else "type")
    problem = f"unknown {what} '{show(word)}'" if word else f"the {what} after the last ':' is missing"
    fix = f"use one of {', '.join(allowed)}{did_you_mean(word, allowed)}"
    return given.wrong(problem, f"{fix}; or {_as_choice(given)}")


# --- JSON


class _Number(str):
    """A number in JSON text, kept as it is spelled there."""

    __slots__ = ()


def _json_spec(given: Given) -> ValueSpec:
    example = f"write --json-param {given.name}='[0.5, 1.7]'"
    try:
        items = json.loads(given.value, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    except json.JSONDecodeError as error:
        problem = f"this is not JSON ({error.msg} at character {error.pos + 1})"
        raise given.wrong(problem, f"{example}, strings in double quotes, all in single quotes") from error
    except RecursionError as error:
        raise given.wrong("this is nested too deeply", example) from error
    if not isinstance(items, list):
        raise given.wrong("this is JSON, but not a list", example)
    if not items:
        raise given.wrong("the list is empty", example)
    pairs = [_json_value(given, item, position) for position, item in enumerate(items, start=1)]
    values = ValueSpec(tuple(value for value, _ in pairs), tuple(text for _, text in pairs))
    _check_texts(given, values.texts)
    return values


def _json_value(given: Given, item: Any, position: int) -> tuple[Value, str]:
    if isinstance(item, _Number):
        text = str(item)
        value = number(text)
        if value is None:
            problem = f"item {position}, {show(text)}, is not a finite number"
            raise given.wrong(problem, f'write "{show(text)}" to pass its text')
        return value, text
    if isinstance(item, bool | str):
        return item, text_of(item)
    kinds = {list: "a list", dict: "an object", type(None): "null"}
    raise given.wrong(
        f"item {position} is {kinds[type(item)]}",
        "use numbers, strings, true and false (write it as a string to pass its text)",
    )


# --- requests that did not come from a command line


def check_parameters(kind: Kind, space: Mapping[str, ParameterSpec]) -> None:
    """Hold a space that came by Python or HTTP to the rules that `parse_parameters` enforces.

    Raises:
        UsageError: what is wrong, and with which parameter.
    """
    if not space and kind != "run":
        raise UsageError(f"a {kind} search needs a parameter")
    takers: dict[str, Given] = {}
    for name, spec in space.items():
        given = Given("parameter", name, name, "")
        _check_name(given, takers)
        if isinstance(spec, RangeSpec):
            if kind in ("grid", "run"):
                raise given.wrong(f"a {kind} takes values, not a range", "use a random or bayesian search")
            continue
        if kind == "run" and len(spec.values) > 1:
            raise given.wrong("a run takes one value", "give one")
        for value in spec.values:
            if isinstance(value, float) and not math.isfinite(value):
                raise given.wrong(f"{value} is not a finite number", f"pass the string '{value}'")
        _check_texts(given, spec.texts)


# --- back to text


def format_parameter(name: str, spec: ParameterSpec) -> str:
    """Return the text that reads back as `spec`: a range for `--param`, values for `--choice`.

    Values whose types their texts do not tell (the string `"1"`, true) need `format_option`.
    """
    if isinstance(spec, ValueSpec):
        return f"{name}={join_list(spec.texts)}"
    words = [text_of(spec.min), text_of(spec.max)]
    words += [spec.scaling] if spec.scaling != "linear" else []
    words += [spec.type] if spec.type != "float" else []
    return f"{name}={':'.join(words)}"


def format_option(kind: Kind, name: str, spec: ParameterSpec) -> tuple[str, str]:
    """Return the option and its text that read back as exactly `spec`: texts, values and their types.

    Raises:
        UsageError: no option can say it, as for texts that are not spellings of their values.
    """
    text = format_parameter(name, spec)
    options = [("--param", text), ("--choice", text)]
    if isinstance(spec, ValueSpec):
        options.append(("--json-param", f"{name}={_json_text(spec)}"))
    for option, candidate in options:
        keyword = {"--param": "params", "--choice": "choices", "--json-param": "json_params"}[option]
        arguments: dict[str, Sequence[str]] = {"params": (), keyword: (candidate,)}
        try:
            read = parse_parameters(kind, **arguments)[name]
        except UsageError:
            continue
        if read == spec and _types(read) == _types(spec):
            return option, candidate
    raise UsageError(f"parameter '{show(name)}' cannot be written as an option; change its name or texts")


def _json_text(spec: ValueSpec) -> str:
    items = []
    for value, text in zip(spec.values, spec.texts, strict=True):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        items.append(text if is_number else json.dumps(value, ensure_ascii=False))
    return f"[{', '.join(items)}]"


def _types(spec: ParameterSpec) -> list[type]:
    return [type(value) for value in spec.values] if isinstance(spec, ValueSpec) else []
