"""What is a number, what is a list, what no command can carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.grammar.values import first_repeated, join_list, number, show, split_list, typed, unfit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("007", 7), ("+3", 3), ("-12", -12), ("0", 0),
        ("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1e4", 1e4), ("1E-8", 1e-8), ("-.5e+2", -50.0),
        ("0.00000001", 1e-8), ("9007199254740993", 9007199254740993),
    ],
)  # fmt: skip
def test_numbers_are_ascii_decimals(text: str, value: float) -> None:
    assert typed(text) == value
    assert type(typed(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "nan", "NaN", "inf", "-inf", "infinity", "1_000", "0x10", "0b1", "0o7", "1e", "e5", ".", "-", "+",
        "", " 1", "1 ", "1\n", "１", "٣", "½", "1e999", "-1e999", "1" * 5000, "9" * 310, "1,5", "1.2.3",
        "--1", "True", "None", "1j", "1e4_0",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_number_stays_a_string(text: str) -> None:
    assert number(text) is None
    assert typed(text) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_from_its_repr(value: float) -> None:
    assert typed(repr(value)) == value


@given(st.integers())
def test_every_integer_reads_back(value: int) -> None:
    assert typed(str(value)) == value


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a,,b,", ["a", "", "b", ""]),
        (r"a\,b", ["a,b"]),
        (r"a\,b,c", ["a,b", "c"]),
        (r"C:\dir\\,D:\x", ["C:\\dir\\", "D:\\x"]),
        (r"\d+\.\d,x\\y", [r"\d+\.\d", r"x\\y"]),
        (r"a\\\,b", [r"a\,b"]),
        ("end\\", ["end\\"]),
        ("end\\\\", ["end\\\\"]),
        ("\n,\t", ["\n", "\t"]),
    ],
)
def test_a_backslash_means_something_only_before_a_comma(text: str, items: list[str]) -> None:
    assert split_list(text) == items


@given(st.lists(st.text(alphabet=st.sampled_from("ab\\,: '\n")), min_size=1))
def test_any_list_of_texts_can_be_written(items: list[str]) -> None:
    assert split_list(join_list(items)) == items


@given(st.text())
def test_what_is_shown_stays_on_one_line(text: str) -> None:
    shown = show(text)
    assert shown.isprintable()
    assert len(show("x" * 200, limit=20)) == 20


def test_a_value_that_no_command_can_carry_says_why() -> None:
    assert unfit("fine é 💫\n") is None
    assert unfit("") is None
    assert "NUL" in (unfit("a\0b") or "")
    assert "UTF-8" in (unfit("\udcff") or "")
    assert "longer" in (unfit("é" * 65_536) or "")
    assert unfit("é" * 65_535) is None
    assert "longer than the 3 bytes" in (unfit("abcd", room=3) or "")


def test_the_first_repeated_text_is_found() -> None:
    assert first_repeated(["1", "1.0", "01"]) is None
    assert first_repeated(["a", "b", "b", "a"]) == "b"
