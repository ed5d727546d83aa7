"""A request for a search survives its JSON form, and a malformed one is refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.errors import UsageError
from augury.spec import Command, RangeSpec, SearchSpec, ValueSpec, number_of_runs, text_of

VALUES = st.one_of(
    st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans()
)


@given(
    st.dictionaries(
        st.text(min_size=1), st.lists(VALUES, min_size=1).map(lambda v: ValueSpec(tuple(v))), max_size=4
    ),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.text(min_size=1),
    st.lists(st.text(), max_size=3),
)
def test_a_request_survives_json(space, num_runs, shell, labels) -> None:
    spec = SearchSpec("random", Command(shell=shell), space, num_runs, labels=tuple(labels), umask=0o022)
    again = SearchSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again.to_json() == spec.to_json()
    assert list(again.space) == list(spec.space)


def test_spellings_travel_with_their_values() -> None:
    spec = ValueSpec((1e-8, 7), ("0.00000001", "007"))
    assert spec.to_json() == {"values": [1e-8, 7], "texts": ["0.00000001", "007"]}
    assert "texts" not in ValueSpec((0.5, "gru")).to_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_runs", "ten"),
        ("num_runs", True),
        ("num_runs", 2**70),
        ("space", []),
        ("command", "echo"),
        ("environment", {"A": 1}),
        ("labels", "one"),
        ("metric_regex", [["a"]]),
        ("umask", 0o1000),
        ("cwd", 3),
        ("kind", None),
        ("surprise", 1),
    ],
)
def test_a_malformed_request_names_the_field(field, value) -> None:
    document = SearchSpec("grid", Command(shell="echo")).to_json() | {field: value}
    with pytest.raises(UsageError, match=f"'{field}'"):
        SearchSpec.from_json(document)


@pytest.mark.parametrize("command", [{}, {"argv": []}, {"shell": "x", "argv": ["y"]}])
def test_a_command_is_words_or_a_line(command) -> None:
    document = SearchSpec("grid", Command(shell="echo")).to_json() | {"command": command}
    with pytest.raises(UsageError, match="command"):
        SearchSpec.from_json(document)


@pytest.mark.parametrize(
    ("low", "high", "scaling", "number"),
    [
        (1, 1, "linear", "float"),
        (2, 1, "linear", "float"),
        (0, 1, "log", "float"),
        (-1, 1, "log", "float"),
        (0, 2, "reverse_log", "float"),
        (1.2, 1.8, "linear", "int"),
        (0, 2**60, "linear", "int"),
        (float("nan"), 1, "linear", "float"),
        (0, float("inf"), "linear", "float"),
        (0, 1, "cubic", "float"),
        (0, 1, "linear", "bool"),
    ],
)
def test_an_impossible_range_is_refused(low, high, scaling, number) -> None:
    with pytest.raises(UsageError):
        RangeSpec(low, high, scaling, number)


def test_a_grid_of_a_million_millions_is_counted_not_built() -> None:
    space = {name: ValueSpec(tuple(range(1000))) for name in "abcd"}
    with pytest.raises(UsageError, match=r"1,000,000,000,000 runs.*--max-runs 1000000000000"):
        number_of_runs(SearchSpec("grid", Command(shell=":a::b::c::d:"), space))


def test_floats_are_spelled_so_that_they_read_back() -> None:
    assert [text_of(value) for value in (0.1, 1e-08, 1, True, "x")] == ["0.1", "1e-08", "1", "true", "x"]
