"""`--param`, `--json-param` and `--choice`: what is accepted, what is refused, and how it says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from augury.errors import UsageError
from augury.grammar.names import variable_of
from augury.grammar.parameters import (
    check_parameters,
    format_option,
    format_parameter,
    parse_parameters,
)
from augury.grammar.values import split_list
from augury.spec import Kind, ParameterSpec, RangeSpec, ValueSpec, parameter_from_json

KINDS: tuple[Kind, ...] = ("grid", "random", "bayesian")


def refused(kind: Kind, params: Sequence[str] = (), **others: Sequence[str]) -> str:
    with pytest.raises(UsageError) as caught:
        parse_parameters(kind, params, **others)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    return message


# --- the table of negative cases, and what the old product refused but we accept


@pytest.mark.parametrize(
    ("kind", "params", "pieces"),
    [
        ("grid", ["a=1,,2"], ["--param a=1,,2", "value 2 of 3 is empty", "extra comma"]),
        ("grid", ["a=1", "a=2"], ["--param a=2", "already given by --param a=1", "once"]),
        ("grid", ["a"], ["--param a", "no '='", "NAME=V[,V...]"]),
        ("random", ["a=lo:hi"], ["MIN 'lo' is not a finite number", "MIN:MAX", "--choice a=lo:hi"]),
        (
            "random",
            ["a=1:2:cubic"],
            ["unknown scaling or type 'cubic'", "linear, log, reverse_log, float, int"],
        ),
        ("random", ["a=1:2:linear:bool"], ["unknown type 'bool'", "float, int"]),
        ("random", ["a=0:1:log"], ["log scaling needs MIN above 0", "MIN is 0"]),
        ("random", ["a=5:1"], ["MIN must be below MAX", "write a=1:5"]),
    ],
)
def test_m_negative_specs_are_refused(kind: Kind, params: list[str], pieces: list[str]) -> None:
    message = refused(kind, params)
    assert all(piece in message for piece in pieces), message


@pytest.mark.parametrize("text", ['a={"x":1}', "a=[1,"])
def test_m_json_that_is_not_a_list_is_refused(text: str) -> None:
    message = refused("grid", json_params=[text])
    assert message.startswith(f"--json-param {text}: ")
    assert "write --json-param a='[0.5, 1.7]'" in message


@pytest.mark.parametrize(
    ("kind", "params", "spec"),
    [
        ("grid", "a=x=1", ValueSpec(("x=1",))),
        ("bayesian", "a=1,2,3", ValueSpec((1, 2, 3))),
        ("bayesian", "a=16:128:linear:int", RangeSpec(16, 128, "linear", "int")),
    ],
)
def test_m_what_the_old_product_refused_is_accepted(kind: Kind, params: str, spec: ParameterSpec) -> None:
    assert parse_parameters(kind, [params]) == {"a": spec}


def test_m_json_numbers_are_not_truncated() -> None:
    assert parse_parameters("grid", [], ["a=[0.5,1.7]"]) == {"a": ValueSpec((0.5, 1.7))}


# --- the manual's own searches


def test_the_manuals_grid_keeps_order_types_and_spelling() -> None:
    space = parse_parameters("grid", ["rate=0.001,0.01,0.1,1", "layers=2,3,5,10"])
    assert list(space) == ["rate", "layers"]
    assert space["rate"] == ValueSpec((0.001, 0.01, 0.1, 1), ("0.001", "0.01", "0.1", "1"))
    assert space["layers"] == ValueSpec((2, 3, 5, 10))


def test_the_manuals_random_search() -> None:
    params = ["rate=.001:1.0:log", "layers=2:100:linear:int", "cell=gru,lstm,rnn"]
    assert parse_parameters("random", params) == {
        "rate": RangeSpec(0.001, 1.0, "log"),
        "layers": RangeSpec(2, 100, "linear", "int"),
        "cell": ValueSpec(("gru", "lstm", "rnn")),
    }


def test_the_manuals_bayesian_search() -> None:
    assert parse_parameters("bayesian", ["rate=.001:1.0", "layers=2:100:int"]) == {
        "rate": RangeSpec(0.001, 1.0),
        "layers": RangeSpec(2, 100, type="int"),
    }


def test_params_come_first_then_json_then_choices() -> None:
    space = parse_parameters("random", ["z=1", "y=1:2"], ["x=[true]"], ["a=1:2"])
    assert list(space) == ["z", "y", "x", "a"]


# --- values


def test_spelling_is_kept_and_types_are_read() -> None:
    texts = "007,1e4,0x10,1_000,nan,inf,.5,1.,+3,-0,True,１,0.00000001"
    (spec,) = parse_parameters("grid", [f"a={texts}"]).values()
    assert isinstance(spec, ValueSpec)
    assert spec.texts == tuple(texts.split(","))
    values = (7, 1e4, "0x10", "1_000", "nan", "inf", 0.5, 1.0, 3, 0, "True", "１", 1e-8)
    assert [(v, type(v)) for v in spec.values] == [(v, type(v)) for v in values]


@pytest.mark.parametrize("kind", KINDS)
def test_an_escaped_comma_is_part_of_the_value(kind: Kind) -> None:
    assert parse_parameters(kind, [r"a=x\,y,z", r"b=\,"]) == {
        "a": ValueSpec(("x,y", "z")),
        "b": ValueSpec((",",)),
    }


@pytest.mark.parametrize(
    "text",
    ["s3://b/k", "host:80", "lo:hi", "a:b:c", "127.0.0.1:80", ":x:", "1:x", "x:1", "::", "12:30,13:45"],
)
def test_a_grid_takes_texts_with_colons(text: str) -> None:
    (spec,) = parse_parameters("grid", [f"a={text}"]).values()
    assert isinstance(spec, ValueSpec)
    assert spec.texts == tuple(text.split(","))


@pytest.mark.parametrize(
    "text", ["1:10", ".001:1.0:log", "2:100:linear:int", "12:30:00", "1:2:cubic", " 1 : 2 "]
)
def test_a_range_in_a_grid_is_refused_with_every_way_out(text: str) -> None:
    message = refused("grid", [f"a={text}"])
    for piece in (
        "--param a=",
        f"'{text}' reads like a range",
        "hyper random",
        "hyper bayesian",
        "--choice ",
    ):
        assert piece in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["1:10", "lo:hi", "12:30:00", "x", "5", "a b", "--flag", "$HOME;`x`"])
def test_a_choice_takes_anything_as_it_stands(kind: Kind, text: str) -> None:
    (spec,) = parse_parameters(kind, [], [], [f"a={text}"]).values()
    assert isinstance(spec, ValueSpec)
    assert spec.texts == (text,)


@pytest.mark.parametrize("kind", KINDS)
def test_white_space_in_strings_stays(kind: Kind) -> None:
    assert parse_parameters(kind, ["a= x,y ,\t,\n"]) == {"a": ValueSpec((" x", "y ", "\t", "\n"))}


@pytest.mark.parametrize("option", ["params", "choices"])
@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("a=", "there is no value"),
        ("a=,", "value 1 of 2 is empty"),
        ("a=1,", "value 2 of 2 is empty"),
        (",a=1", "',a' cannot name a parameter"),
        ("=1", "no name before the '='"),
        ("a=1, 2", "white space around the number in ' 2'"),
        ("a=1,2,1", "'1' stands there twice"),
        ("a=x\0y", "NUL"),
        ("a=\udcff", "UTF-8"),
        ("a=" + "é" * 70_000, "longer than the 131056 bytes"),
    ],
)
def test_bad_values_are_refused(option: str, text: str, piece: str) -> None:
    keywords: dict[str, Any] = {"params": [], option: [text]}
    message = refused("grid", **keywords)
    assert piece in message
    assert message.startswith("--param " if option == "params" else "--choice ")


def test_equal_numbers_of_different_spelling_are_two_values() -> None:
    (spec,) = parse_parameters("grid", ["a=1,1.0,01"]).values()
    assert isinstance(spec, ValueSpec)
    assert spec.texts == ("1", "1.0", "01")


def test_a_run_takes_one_value_of_each_parameter() -> None:
    assert parse_parameters("run", []) == {}
    assert parse_parameters("run", ["a=1:2", r"b=x\,y"]) == {
        "a": ValueSpec(("1:2",)),
        "b": ValueSpec(("x,y",)),
    }
    assert "a run takes one value" in refused("run", ["a=1,2"])
    assert "a run takes one value" in refused("run", json_params=["a=[1,2]"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_needs_a_parameter(kind: Kind) -> None:
    assert "add --param NAME=" in refused(kind)


# --- ranges


@pytest.mark.parametrize("kind", ["random", "bayesian"])
@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1:10", RangeSpec(1, 10)),
        ("-1:1", RangeSpec(-1, 1)),
        ("1:10:log", RangeSpec(1, 10, "log")),
        ("1:10:int", RangeSpec(1, 10, type="int")),
        ("1:10:float", RangeSpec(1, 10)),
        ("1:10:LOG:Int", RangeSpec(1, 10, "log", "int")),
        ("0.9:0.999:reverse_log", RangeSpec(0.9, 0.999, "reverse_log")),
        ("0:.99:reverse_log", RangeSpec(0, 0.99, "reverse_log")),
        ("1e-8:1e-2:log:float", RangeSpec(1e-8, 1e-2, "log")),
        (" 1 : 2 : log ", RangeSpec(1, 2, "log")),
    ],
)
def test_ranges(kind: Kind, text: str, spec: RangeSpec) -> None:
    assert parse_parameters(kind, [f"a={text}"]) == {"a": spec}


@pytest.mark.parametrize("kind", ["random", "bayesian"])
@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("1:10:int:log", ["scaling stands before the type", "write a=1:10:log:int"]),
        ("1:2:lgo", ["'lgo'", "did you mean 'log'?"]),
        ("1:2:reverse-log:int", ["unknown scaling 'reverse-log'", "did you mean 'reverse_log'?"]),
        ("1:2:int:int", ["unknown scaling 'int'"]),
        ("1:2:log:log", ["unknown type 'log'"]),
        ("1:2:log:int:x", ["at most four fields, but this has 5"]),
        ("1:2:", ["after the last ':' is missing"]),
        ("1:", ["MAX is missing", "MIN:MAX"]),
        (":2", ["MIN is missing"]),
        (":", ["MIN is missing", "--choice a=:"]),
        ("1:inf", ["MAX 'inf' is not a finite number"]),
        ("nan:1", ["MIN 'nan' is not a finite number"]),
        ("1:1_000", ["MAX '1_000'"]),
        ("0x1:0x2", ["MIN '0x1'"]),
        ("1:1e999", ["MAX '1e999'"]),
        ("5:5", ["5 is not below 5", "write a=5 for a single value"]),
        ("9:2:log:int", ["write a=2:9:log:int"]),
        ("-1:1:log", ["MIN above 0"]),
        ("-1:1:reverse_log", ["reverse_log scaling needs MIN above 0"]),
        ("0:1:reverse_log", ["reverse_log scaling needs MIN above 0"]),
        ("0.2:0.8:int", ["no integer lies between 0.2 and 0.8"]),
        ("1:1e30:int", ["within ±2^53"]),
        ("12:30:00", ["'00'", "--choice a=12:30:00"]),
        (r"x\,y:z", ["--choice 'a=x\\,y:z'"]),
        ("http://h:80/x", ["MIN 'http'", "--choice a=http://h:80/x"]),
    ],
)
def test_bad_ranges_say_what_to_write(kind: Kind, text: str, pieces: list[str]) -> None:
    message = refused(kind, [f"a={text}"])
    assert message.startswith(f"--param a={text}: ")
    assert all(piece in message for piece in pieces), message


# --- JSON


def test_json_keeps_the_spelling_of_numbers_and_the_types_of_all() -> None:
    text = '[1e-8, 0.50, 3, -0, "007", "a,b", "", true, false, "é\\n"]'
    (spec,) = parse_parameters("random", [], [f"a={text}"]).values()
    assert isinstance(spec, ValueSpec)
    values = (1e-8, 0.5, 3, 0, "007", "a,b", "", True, False, "é\n")
    assert [(v, type(v)) for v in spec.values] == [(v, type(v)) for v in values]
    assert spec.texts == ("1e-8", "0.50", "3", "-0", "007", "a,b", "", "true", "false", "é\n")


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("[null]", "item 1 is null"),
        ("[1, [2]]", "item 2 is a list"),
        ('[{"a": 1}]', "item 1 is an object"),
        ("[]", "the list is empty"),
        ("3", "not a list"),
        ('"x"', "not a list"),
        ("NaN", "not a list"),
        ("1,2", "not JSON"),
        ("", "not JSON"),
        ("[x,y]", "strings in double quotes, all in single quotes"),
        ("[007]", "not JSON"),
        ("[NaN]", "item 1, NaN, is not a finite number"),
        ("[1, -Infinity]", "item 2, -Infinity, is not a finite number"),
        ("[1e999]", "1e999"),
        ('["a", "a"]', "twice"),
        ('[1, "1"]', "twice"),
        ('["\\u0000"]', "NUL"),
        ('["\\ud800"]', "UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "9" * 5_000 + "]", "not a finite number"),
    ],
)
def test_bad_json_is_refused(text: str, piece: str) -> None:
    message = refused("grid", json_params=[f"a={text}"])
    assert message.startswith("--json-param a=")
    assert piece in message


# --- names


@pytest.mark.parametrize("name", ["a", "_", "conv3-filters", "STYLE_WEIGHT", "x" * 64, "a-"])
def test_good_names(name: str) -> None:
    assert list(parse_parameters("grid", [f"{name}=1"])) == [name]


@pytest.mark.parametrize(
    "name", ["1a", "-a", "a b", " a", "a ", "é", "a.b", "a:b", "a/b", "x" * 65, "a\n", "ａ"]
)
def test_bad_names(name: str) -> None:
    for option in ({"params": [f"{name}=1"]}, {"params": [], "choices": [f"{name}=1"]}):
        assert "cannot name a parameter; a name is a letter" in refused("grid", **option)


@pytest.mark.parametrize(("one", "other"), [("lr", "LR"), ("a-b", "a_b"), ("A-b", "a_B")])
def test_names_that_would_share_a_variable_are_refused(one: str, other: str) -> None:
    message = refused("grid", [f"{one}=1"], choices=[f"{other}=2"])
    assert f"'{other}' and '{one}' share the variable {variable_of(one)}" in message


def test_a_name_given_by_two_options_is_refused_naming_both() -> None:
    message = refused("grid", ["a=1"], json_params=["a=[2]"])
    assert "--json-param a=[2]: parameter 'a' is already given by --param a=1" in message


# --- spaces that did not come from a command line


@pytest.mark.parametrize(
    ("kind", "space", "piece"),
    [
        ("grid", {}, "needs a parameter"),
        ("grid", {"a": RangeSpec(0, 1)}, "a grid takes values"),
        ("run", {"a": RangeSpec(0, 1)}, "a run takes values"),
        ("run", {"a": ValueSpec((1, 2))}, "one value"),
        ("grid", {"a b": ValueSpec((1,))}, "cannot name a parameter"),
        ("grid", {"a": ValueSpec((1,)), "A": ValueSpec((1,))}, "share the variable"),
        ("grid", {"a": ValueSpec((float("nan"),))}, "pass the string 'nan'"),
        ("grid", {"a": ValueSpec((float("inf"),))}, "finite"),
        ("grid", {"a": ValueSpec((1, "1"))}, "twice"),
        ("grid", {"a": ValueSpec(("x\0",))}, "NUL"),
        ("grid", {"a": ValueSpec((1,), ("\ud800",))}, "UTF-8"),
    ],
)
def test_spaces_from_python_are_held_to_the_same_rules(
    kind: Kind, space: dict[str, ParameterSpec], piece: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_parameters(kind, space)
    assert piece in str(caught.value)


def test_good_spaces_from_python_pass() -> None:
    check_parameters("run", {})
    check_parameters("grid", {"a": ValueSpec((0, 2, 4)), "b": ValueSpec((1.3, True, "", "x y"))})
    check_parameters("random", {"a": RangeSpec(16, 128, "linear", "int"), "b": ValueSpec(("1:2",))})


def test_what_the_line_accepts_the_check_accepts() -> None:
    space = parse_parameters("random", ["a=1:2", "b=007,x"], ["c=[true, 1e-8]"], ["d=1:2"])
    check_parameters("random", space)


@pytest.mark.parametrize(
    "document",
    [
        {"values": "abc"}, {"values": 5}, {"values": [None]}, {"values": [[1]]}, {"values": []},
        {"values": [1], "texts": [1]}, {"values": [1], "texts": ["1", "2"]}, {"min": "a", "max": 2},
        {"min": True, "max": 2}, {"min": 0, "max": 10**400}, {"min": float("nan"), "max": 1}, {"min": 1}, {},
    ],
)  # fmt: skip
def test_broken_json_of_a_request_is_a_usage_error(document: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parameter_from_json(document)


# --- back to text

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", fullmatch=True)
TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=8),
    st.text(alphabet=st.sampled_from("ab\\,:='\"[] "), max_size=6),
    st.integers().map(str),
    st.sampled_from(["1:2", "007", "1e4", "nan", "true", "0x10", ".5"]),
)
VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
VALUE_SPECS = (
    st.lists(VALUES, min_size=1, max_size=5)
    .map(lambda values: ValueSpec(tuple(values)))
    .filter(lambda spec: len(set(spec.texts)) == len(spec.texts))
)
POSITIVE = st.floats(min_value=1e-300, max_value=1e300)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


def ordered(pair: tuple[float, float]) -> tuple[float, float]:
    return min(pair), max(pair)


RANGE_SPECS = st.one_of(
    st.builds(
        lambda pair: RangeSpec(*ordered(pair)), st.tuples(NUMBERS, NUMBERS).filter(lambda p: p[0] != p[1])
    ),
    st.builds(
        lambda pair, scaling: RangeSpec(*ordered(pair), scaling),
        st.tuples(POSITIVE, POSITIVE).filter(lambda p: p[0] != p[1]),
        st.sampled_from(["log", "reverse_log"]),
    ),
    st.builds(
        lambda low, width, scaling: RangeSpec(low, low + width, scaling, "int"),
        st.integers(1, 2**40),
        st.integers(1, 2**40),
        st.sampled_from(["linear", "log", "reverse_log"]),
    ),
)
ARGUMENT = {"--param": "params", "--choice": "choices", "--json-param": "json_params"}


def exact(spec: ParameterSpec) -> object:
    if isinstance(spec, RangeSpec):
        return spec
    return [(value, type(value), text) for value, text in zip(spec.values, spec.texts, strict=True)]


@given(st.sampled_from(KINDS), NAMES, VALUE_SPECS | RANGE_SPECS)
def test_every_spec_reads_back_from_its_option(kind: Kind, name: str, spec: ParameterSpec) -> None:
    if kind == "grid" and isinstance(spec, RangeSpec):
        kind = "random"
    check_parameters(kind, {name: spec})
    option, text = format_option(kind, name, spec)
    keywords: dict[str, Any] = {"params": [], ARGUMENT[option]: [text]}
    (read,) = parse_parameters(kind, **keywords).values()
    assert exact(read) == exact(spec)


TYPED = st.lists(TEXTS.filter(lambda t: t and t == t.strip()), min_size=1, max_size=5, unique=True)


@given(st.sampled_from(KINDS), TYPED)
def test_what_users_type_round_trips_through_a_choice(kind: Kind, texts: list[str]) -> None:
    typed = "a=" + ",".join(text.replace("\\", "").replace(",", "\\,") or "x" for text in texts)
    assume(len(set(split_list(typed[2:]))) == len(texts))
    (spec,) = parse_parameters(kind, [], [], [typed]).values()
    (again,) = parse_parameters(kind, [], [], [format_parameter("a", spec)]).values()
    assert exact(again) == exact(spec)
    assert isinstance(spec, ValueSpec)
    assert parameter_from_json(spec.to_json()) == spec


@given(st.sampled_from([*KINDS, "run"]), st.text(), st.text())
def test_no_text_crashes_the_reader(kind: Kind, param: str, other: str) -> None:
    for keywords in ({}, {"choices": [f"b={other}"]}, {"json_params": [f"b={other}"]}):
        try:
            space = parse_parameters(kind, [f"a={param}"], **keywords)
        except UsageError:
            continue
        check_parameters(kind, space)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (RangeSpec(0.001, 1.0), "a=0.001:1.0"),
        (RangeSpec(2, 100, type="int"), "a=2:100:int"),
        (RangeSpec(1e-8, 1, "log"), "a=1e-08:1:log"),
        (RangeSpec(1, 9, "reverse_log", "int"), "a=1:9:reverse_log:int"),
        (ValueSpec((7, "x,y"), ("007", "x,y")), "a=007,x\\,y"),
    ],
)
def test_specs_are_written_briefly(spec: ParameterSpec, text: str) -> None:
    assert format_parameter("a", spec) == text


@pytest.mark.parametrize(
    ("kind", "spec", "option"),
    [
        ("grid", ValueSpec((1, 2)), "--param"),
        ("grid", ValueSpec(("1:2",)), "--choice"),
        ("random", ValueSpec(("a:b",)), "--choice"),
        ("random", ValueSpec(("1",)), "--json-param"),
        ("random", ValueSpec((True,)), "--json-param"),
        ("random", ValueSpec(("",)), "--json-param"),
        ("random", RangeSpec(1, 2), "--param"),
    ],
)
def test_the_plainest_option_that_says_it_is_chosen(kind: Kind, spec: ParameterSpec, option: str) -> None:
    assert format_option(kind, "a", spec)[0] == option


def test_texts_that_no_option_can_say_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be written as an option"):
        format_option("grid", "a", ValueSpec((True,), ("on",)))
