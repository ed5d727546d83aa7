"""Parameters, scalings and the unit cube."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from augury_samplers import Choice, Range, Space

U = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((1.0, 1.0), "below"),
        ((5, 1), "below"),
        ((0.0, 1.0, "log"), "above 0"),
        ((-1.0, 0.5, "reverse_log"), "above 0"),
        ((0.0, 1.0, "reverse_log"), "above 0"),
        ((1, 2, "cubic"), "linear, log, reverse_log"),
        ((1, 2, "linear", "bool"), "float, int"),
        ((0.2, 0.8, "linear", "int"), "no integer"),
        ((0, 2**60, "linear", "int"), "2\\^53"),
        ((0.0, math.inf), "finite"),
        ((math.nan, 1.0), "finite"),
    ],
)
def test_a_wrong_range_is_refused_by_name_and_with_the_fix(arguments: tuple, word: str) -> None:
    with pytest.raises(ValueError, match=word) as error:
        Range("rate", *arguments)
    assert "'rate'" in str(error.value)


def test_a_wrong_choice_or_space_is_refused() -> None:
    with pytest.raises(ValueError, match="'cell' needs at least one"):
        Choice("cell", ())
    with pytest.raises(ValueError, match="'cell' has 'gru' twice"):
        Choice("cell", ("gru", "lstm", "gru"))
    with pytest.raises(ValueError, match="at least one parameter"):
        Space([])
    with pytest.raises(ValueError, match="'a' is given twice"):
        Space([Choice("a", (1,)), Range("a", 0, 1)])


@pytest.mark.parametrize(
    ("parameter", "u", "value"),
    [
        (Range("x", -2.0, 6.0), 0.25, 0.0),
        (Range("x", 0.001, 1.0, "log"), 0.5, math.sqrt(0.001)),
        (Range("x", 1, 100, "log"), 0.5, 10.0),
        (Range("x", 0.9, 0.999, "reverse_log"), 0.5, 0.99),
        (Range("x", 0.0, 0.99, "reverse_log"), 0.5, 0.9),
        (Range("x", 1.0, 100.0, "reverse_log"), 0.5, 91.0),
        (Range("x", 0.5, 1.0, "reverse_log"), 1.0, 1.0),
        (Range("x", 2, 100, "linear", "int"), 0.5, 51),
        (Range("x", 1, 10, "log", "int"), 0.0, 1),
        (Range("x", 1, 10, "log", "int"), 0.5, 2),  # sqrt(0.5 * 10.5) = 2.29
        (Range("x", 1, 10, "reverse_log", "int"), 0.5, 9),
        (Range("x", 2.5, 3.5, "linear", "int"), 0.9, 3),
        (Choice("x", ("a", "b", "c")), 0.34, "b"),
        (Choice("x", ("a", "b", "c")), 1.0, "c"),
    ],
)
def test_scalings_are_the_documented_formulas(parameter: Choice | Range, u: float, value: object) -> None:
    drawn = parameter.from_unit(u)
    assert type(drawn) is type(value)
    assert drawn == (pytest.approx(value, rel=1e-15) if isinstance(value, float) else value)


@st.composite
def float_ranges(draw: st.DrawFn) -> Range:
    scaling = draw(st.sampled_from(["linear", "log", "reverse_log"]))
    lowest = -sys.float_info.max if scaling == "linear" else 5e-324
    bounds = st.floats(lowest, sys.float_info.max)
    low, high = sorted(draw(st.lists(bounds, min_size=2, max_size=2, unique=True)))
    return Range("x", low, high, scaling)


@st.composite
def int_ranges(draw: st.DrawFn) -> Range:
    scaling = draw(st.sampled_from(["linear", "log", "reverse_log"]))
    low = draw(st.integers(-(10**9) if scaling == "linear" else 1, 10**9))
    return Range("x", low, low + draw(st.integers(1, 10**9)), scaling, "int")


@given(float_ranges(), U)
@example(Range("x", -sys.float_info.max, sys.float_info.max), 0.5)
@example(Range("x", 0.1, 0.7, "log"), 1.0)
@example(Range("x", 5e-324, sys.float_info.max, "reverse_log"), 0.3)
def test_floats_never_leave_the_range_and_the_ends_are_reached(parameter: Range, u: float) -> None:
    value = parameter.from_unit(u)
    assert isinstance(value, float)
    assert value in parameter
    assert 0.0 <= parameter.to_unit(value) <= 1.0
    assert parameter.from_unit(0.0) == parameter.from_unit(-3.0) == parameter.min
    assert parameter.from_unit(1.0) == parameter.from_unit(7.0) == parameter.max


@given(
    st.sampled_from(
        [
            Range("x", -3.0, 9.0),
            Range("x", 1e-5, 10.0, "log"),
            Range("x", 0.0, 0.9999, "reverse_log"),
            Range("x", 0.5, 30.0, "reverse_log"),
        ]
    ),
    U,
)
def test_floats_lead_back_to_their_coordinate(parameter: Range, u: float) -> None:
    assert parameter.to_unit(parameter.from_unit(u)) == pytest.approx(u, abs=1e-10)


@given(int_ranges(), U)
def test_ints_lead_back_to_themselves(parameter: Range, u: float) -> None:
    value = parameter.from_unit(u)
    assert isinstance(value, int)
    assert value in parameter
    assert parameter.from_unit(parameter.to_unit(value)) == value


@given(int_ranges(), U, U)
def test_a_larger_coordinate_never_gives_a_smaller_int(parameter: Range, u: float, v: float) -> None:
    assert (parameter.from_unit(u) <= parameter.from_unit(v)) or u > v  # type: ignore[operator]


def test_an_int_range_with_broken_bounds_holds_the_ints_between_them() -> None:
    parameter = Range("n", 1.5, 4.2, "linear", "int")
    assert {parameter.from_unit(u / 100) for u in range(101)} == {2, 3, 4}
    assert (parameter.low, parameter.high, parameter.size) == (2, 4, 3)
    assert Range("n", 0, 0.5, "reverse_log", "int").from_unit(0.7) == 0


def test_membership_minds_the_type() -> None:
    ints, floats = Range("n", 1, 10, "linear", "int"), Range("x", 1, 10)
    assert 3 in ints
    assert 3.0 not in ints
    assert True not in ints
    assert 3 in floats
    assert "3" not in floats
    space = Space([ints, Choice("cell", ("gru",))])
    assert {"n": 3, "cell": "gru"} in space
    assert {"n": 3} not in space
    assert {"n": 3, "cell": "gru", "more": 1} not in space
    assert {"n": 11, "cell": "gru"} not in space


def test_a_value_without_a_place_is_refused_by_name() -> None:
    space = Space([Range("rate", 0, 1), Choice("cell", ("gru",))])
    with pytest.raises(ValueError, match="no value for parameter 'cell'"):
        space.to_unit({"rate": 0.5})
    with pytest.raises(ValueError, match="'cell' has no value 'lstm'"):
        space.to_unit({"rate": 0.5, "cell": "lstm"})
    with pytest.raises(ValueError, match="'rate' takes numbers"):
        space.to_unit({"rate": "half", "cell": "gru"})
    assert space.to_unit({"rate": 7.0, "cell": "gru"}) == (1.0, 0.5)


def test_the_size_counts_points_and_at_decodes_them_last_parameter_fastest() -> None:
    space = Space([Choice("a", ("x", "y")), Range("n", 3, 5, "log", "int")])
    assert space.size == 6
    points = [tuple(space.at(index).values()) for index in range(6)]
    assert points == [("x", 3), ("x", 4), ("x", 5), ("y", 3), ("y", 4), ("y", 5)]
    for wrong in (6, -1):
        with pytest.raises(IndexError):
            space.at(wrong)
    assert Space([Range("x", 0, 1), Choice("a", (1, 2))]).size is None
    with pytest.raises(ValueError, match="'x' is a range of floats"):
        Space([Range("x", 0, 1)]).at(0)


def test_floats_are_the_same_bits_on_every_machine() -> None:
    # Recorded once: correctly rounded decimal arithmetic, not the C library's exp and log.
    drawn = [
        Range("x", 0.001, 1.0, "log").from_unit(0.123456789).hex(),  # type: ignore[union-attr]
        Range("x", 0.9, 0.999, "reverse_log").from_unit(0.7).hex(),  # type: ignore[union-attr]
        Range("x", 0.3, 7.0, "reverse_log").from_unit(0.1).hex(),  # type: ignore[union-attr]
    ]
    assert drawn == ["0x1.3386602fdf32ep-9", "0x1.fdf6316671823p-1", "0x1.1880634a232b9p+1"]
