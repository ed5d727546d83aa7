"""Lines of a metrics file, its tail, and patterns in output."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury_workers.metrics import (
    LINE_LIMIT,
    BadLineError,
    Lines,
    Numbering,
    Patterns,
    Point,
    Tail,
    parse_line,
    reports,
)


def line(**fields: object) -> bytes:
    return json.dumps({"name": "a", **fields}).encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-2.5e-3", -0.0025),
        ("true", 1.0),
        ("NaN", math.nan),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        ('"NaN"', math.nan),
        ('"-inf"', -math.inf),
        ('"0.5"', 0.5),
        ("1e400", math.inf),
        ("9" * 400, math.inf),
        ("-" + "9" * 400, -math.inf),
        (str(2**53 + 1), float(2**53)),
    ],
)
def test_value_is_read_in_any_usual_spelling(text: str, value: float) -> None:
    found = parse_line(b'{"name": "a", "value": %b}' % text.encode()).value
    assert found == value or (math.isnan(found) and math.isnan(value))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"loss=1", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"value": 1}', 'no "name"'),
        (b'{"name": " ", "value": 1}', 'no "name"'),
        (b'{"name": 3, "value": 1}', 'no "name"'),
        (b'{"name": "a"}', 'no "value"'),
        (line(value=None), "not a number"),
        (line(value=[1]), "not a number"),
        (line(value="high"), "not a number"),
        (line(value="1_000"), "not a number"),
        (line(value=1, index=0.5), "not a whole number"),
        (line(value=1, index="3"), "not a whole number"),
        (line(value=1, index=2**63), "64 bits"),
        (b'{"name": "%b", "value": 1}' % (b"x" * 1001), "1000 characters"),
    ],
)
def test_line_that_is_no_point_says_why(text: bytes, reason: str) -> None:
    with pytest.raises(BadLineError, match=reason):
        parse_line(text)


def test_index_and_time_are_taken_when_they_make_sense() -> None:
    assert parse_line(line(value=1, index=-3, time=12.5)) == Point("a", 1.0, -3, 12.5)
    assert parse_line(line(value=1, index=4.0)).index == 4
    assert parse_line(line(value=1, time="yesterday")).time is None
    assert parse_line(line(value=1, time=math.nan)).time is None


def test_name_with_a_lone_surrogate_can_be_stored() -> None:
    parse_line(b'{"name": "a\\ud800", "value": 1}').name.encode()


def test_missing_index_follows_the_previous_of_that_name() -> None:
    numbering = Numbering()
    points = [Point("a", 1), Point("b", 1), Point("a", 1, 10), Point("a", 1), Point("b", 1), Point("a", 1, 3)]
    assert [numbering.index(point) for point in points] == [0, 0, 10, 11, 1, 3]


def test_reports_hold_five_hundred_points_of_one_name_in_order() -> None:
    points = [Point("ab"[i % 2], float(i)) for i in range(2002)]
    found = list(reports(points, Numbering(), 99.5))
    assert [(body["name"], len(body["points"])) for body in found] == [
        *[("a", 500), ("a", 500), ("a", 1)],
        *[("b", 500), ("b", 500), ("b", 1)],
    ]
    assert found[0]["points"][1] == [1, 2.0, 99.5]
    json.dumps(found, allow_nan=False)


@given(st.lists(st.binary(max_size=30), max_size=20), st.booleans())
def test_lines_do_not_depend_on_how_the_bytes_arrive(pieces: list[bytes], returns: bool) -> None:
    lines = Lines(returns=returns)
    found = [each for piece in pieces for each in lines.feed(piece)] + lines.end()
    whole = b"".join(pieces)
    if returns:
        whole = whole.replace(b"\r", b"\n")
    assert found == [each for each in whole.split(b"\n") if each]


def test_long_line_is_cut_and_the_next_one_is_whole() -> None:
    lines = Lines()
    found = []
    for piece in (b"x" * LINE_LIMIT, b"y" * 10, b"z" * LINE_LIMIT, b"tail\nnext\n"):
        found += lines.feed(piece)
    assert [each[:4] for each in found] == [b"xxxx", b"next"]
    assert len(found[0]) == LINE_LIMIT
    assert lines.end() == []


def values(points: list[Point]) -> list[float]:
    return [point.value for point in points]


def test_tail_reads_what_is_added_and_an_unfinished_line_last(tmp_path: Path) -> None:
    path = tmp_path / "m"
    tail = Tail(str(path))
    assert tail.read() == []
    path.write_bytes(line(value=1) + b"\n" + line(value=2)[:9])
    assert values(tail.read()) == [1]
    with path.open("ab") as file:
        file.write(line(value=2)[9:] + b"\n" + line(value=3))
    assert values(tail.read()) == [2]
    assert values(tail.read(last=True)) == [3]
    assert tail.bad == 0
    tail.close()


def test_tail_reads_a_truncated_or_replaced_file_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(line(value=1.25, index=1) + b"\n" + line(value=1) + b"\n")
    tail = Tail(str(path))
    assert values(tail.read()) == [1.25, 1]
    path.write_bytes(line(value=2) + b"\n")
    assert values(tail.read()) == [2]
    fresh = tmp_path / "fresh"
    fresh.write_bytes(line(value=3) + b"\n")
    fresh.replace(path)
    assert values(tail.read()) == [3]
    path.unlink()
    assert tail.read() == []
    tail.close()


def test_tail_takes_no_more_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes((line(value=1) + b"\n") * 30_000)
    tail = Tail(str(path))
    sizes = []
    while not tail.exhausted:
        sizes.append(len(tail.read(last=True)))
    assert sum(sizes) == 30_000
    assert len(sizes) > 2
    tail.close()


def test_tail_ignores_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "none"):
        assert Tail(str(path)).read(last=True) == []


def test_tail_counts_bad_lines_but_not_blank_ones(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"\n  \nfirst\n" + b"x" * (LINE_LIMIT * 3) + b"\n" + line(value=1) + b"\n")
    tail = Tail(str(path))
    assert values(tail.read()) == [1]
    assert tail.bad == 2
    assert tail.first_bad is not None
    assert "first" in tail.first_bad
    tail.close()


def test_pattern_takes_its_named_group_then_its_first_then_all() -> None:
    patterns = Patterns([["n", r"(x)=(?P<value>\S+)"], ["f", r"y=(\S+)"], ["w", r"-?\d+\.\d+"]])  # type: ignore[list-item]
    found = patterns.feed(b"x=1 y=2 3.5\nx=no \xff y=inf\n")
    assert [(point.name, point.value) for point in found] == [
        ("n", 1.0),
        ("f", 2.0),
        ("w", 3.5),
        ("f", math.inf),
    ]


def test_pattern_sees_progress_bars_and_an_unfinished_line() -> None:
    patterns = Patterns([("loss", r"loss (\S+)")])
    assert values(patterns.feed(b"\rloss 3\rloss 2\rlo")) == [3, 2]
    assert values(patterns.feed(b"ss 1")) == []
    assert values(patterns.end()) == [1]
