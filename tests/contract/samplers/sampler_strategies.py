"""Random spaces and histories for the conformance suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from augury_samplers import Choice, Observation, Parameter, Range, Space, Value

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
UNITS = st.floats(0.0, 1.0)
OBJECTIVES = st.one_of(
    st.none(),
    st.floats(-10.0, 10.0),
    st.floats(),  # with infinities and NaN
    st.sampled_from([0.0, 1.0, 1e30, -1e30, 1.7e308, -1.7e308, 5e-324]),
)


def choices(name: str) -> st.SearchStrategy[Choice]:
    texts = st.lists(st.text(max_size=5), min_size=1, max_size=6, unique=True)
    numbers = st.lists(st.integers(-5, 5), min_size=1, max_size=6, unique=True)
    return st.one_of(texts, numbers).map(lambda values: Choice(name, tuple(values)))


def float_ranges(name: str) -> st.SearchStrategy[Range]:
    anywhere = st.tuples(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308), st.just("linear"))
    positive = st.tuples(
        st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.sampled_from(["log", "reverse_log"])
    )
    below_one = st.tuples(st.floats(0.0, 0.5), st.floats(0.5, 0.9999999), st.just("reverse_log"))
    usual = st.sampled_from(
        [(0.001, 1.0, "log"), (0.9, 0.999, "reverse_log"), (0.2, 0.5, "linear"), (1, 7, "linear")]
    )
    return (
        st.one_of(anywhere, positive, below_one, usual)
        .filter(lambda r: r[0] != r[1])
        .map(
            lambda r: Range(name, min(r[:2]), max(r[:2]), r[2])  # type: ignore[arg-type]
        )
    )


def int_ranges(name: str) -> st.SearchStrategy[Range]:
    small = st.tuples(
        st.integers(1, 5), st.integers(6, 20), st.sampled_from(["linear", "log", "reverse_log"])
    )
    wide = st.tuples(
        st.integers(1, 9), st.integers(10, 2**53), st.sampled_from(["linear", "log", "reverse_log"])
    )
    signed = st.tuples(st.integers(-(2**53), -1), st.integers(0, 2**53), st.just("linear"))
    broken = st.sampled_from(
        [(0.5, 3.5, "log"), (2.5, 3.5, "linear"), (0, 0.5, "reverse_log"), (1.2, 4.9, "log")]
    )
    return st.one_of(small, wide, signed, broken).map(
        lambda r: Range(name, r[0], r[1], r[2], "int")  # type: ignore[arg-type]
    )


def parameters(name: str) -> st.SearchStrategy[Parameter]:
    return st.one_of(choices(name), float_ranges(name), int_ranges(name))


@st.composite
def spaces(draw: st.DrawFn, lists_only: bool = False) -> Space:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    return Space([draw(choices(name) if lists_only else parameters(name)) for name in names])


@dataclass
class Asked:
    """The arguments of one call of `suggest`."""

    space: Space
    observations: list[Observation]
    pending: list[dict[str, Value]]
    seed: int
    index: int
    memo: dict[str, Any] | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.space, self.observations, self.pending, self.seed, self.index, self.memo


@st.composite
def asked(draw: st.DrawFn, lists_only: bool = False) -> Asked:
    space = draw(spaces(lists_only))
    points = st.tuples(*[UNITS] * len(space)).map(space.from_unit)
    observed = draw(st.lists(st.builds(Observation, points, OBJECTIVES), max_size=14))
    pending = draw(st.lists(points, max_size=5))
    index = draw(st.one_of(st.just(len(observed) + len(pending)), st.integers(0, 200)))
    memo = draw(st.sampled_from([None, {}, {"v": 1, "n": 3, "theta": [1e300]}, {"v": "?", "theta": None}]))
    return Asked(space, observed, pending, draw(st.integers(-(2**70), 2**70)), index, memo)
