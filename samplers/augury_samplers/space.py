"""Parameters, and the space that maps them to the unit cube and back.

Every parameter owns one coordinate u of the unit cube; a uniform u gives a value drawn as the parameter's
scaling says. With a = `min` and b = `max` of a range of floats:

    linear       x = a + u (b - a)
    log          x = a (b/a)^u                              0 < a
    reverse_log  x = 1 - (1-a) ((1-b)/(1-a))^u              0 <= a < b < 1: uniform in log(1-x)
                 x = a + b - a (b/a)^(1-u)                  otherwise, 0 < a: the mirror image of log

A range of ints holds ceil(a)..floor(b). Its value is x of the range widened to
[ceil(a) - 1/2, floor(b) + 1/2], rounded to the nearest int, so that both ends keep their whole share.
A choice of n values cuts [0, 1] into n equal cells. `to_unit` of an int or a choice is the coordinate of
the value itself (the middle of the cell, on the scaling), so `from_unit` leads back to the same value.

Values are computed in decimal arithmetic, whose `exp` and `ln` are correctly rounded everywhere: the same u
gives the same bits on every machine, which the C library's functions do not promise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

Value: TypeAlias = int | float | str | bool
Scaling: TypeAlias = Literal["linear", "log", "reverse_log"]
NumberType: TypeAlias = Literal["float", "int"]

SCALINGS: tuple[str, ...] = get_args(Scaling)
NUMBER_TYPES: tuple[str, ...] = get_args(NumberType)
LARGEST_INT = 2**53
"""Bounds of an int range lie within plus and minus this."""

_EXACT = Context(prec=34, Emin=-999_999, Emax=999_999)
_HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that takes one of `values`, which are opaque, hashable and distinct.

    Raises:
        ValueError: there is no value, or two are equal (as `1`, `1.0` and `True` are).
    """

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ValueError(f"parameter '{self.name}' needs at least one value")
        seen: set[Value] = set()
        for value in self.values:
            if value in seen:
                raise ValueError(f"parameter '{self.name}' has {value!r} twice: give each value once")
            seen.add(value)

    def __contains__(self, value: object) -> bool:
        return value in self.values

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    def at(self, index: int) -> Value:
        """Return value number `index`, 0 <= index < size."""
        return self.values[index]

    def from_unit(self, u: float) -> Value:
        """Return the value in whose cell `u` lies; a `u` outside [0, 1] counts as the nearer end."""
        return self.values[_cell(u, len(self.values))]

    def to_unit(self, value: Value) -> float:
        """Return the middle of the cell of `value`; raises `ValueError` when it is not one of the values."""
        if value not in self.values:
            raise ValueError(f"parameter '{self.name}' has no value {value!r}")
        return (self.values.index(value) + 0.5) / len(self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """A parameter that takes numbers from `min` to `max`, both included; the formulas head this module.

    Raises:
        ValueError: the bounds do not suit each other, the scaling or the type.
    """

    name: str
    min: float
    max: float
    scaling: Scaling = "linear"
    type: NumberType = "float"

    def __post_init__(self) -> None:
        for given, allowed, what in ((self.scaling, SCALINGS, "scaling"), (self.type, NUMBER_TYPES, "type")):
            if given not in allowed:
                raise self._error(f"has the unknown {what} '{given}': use one of {', '.join(allowed)}")
        if not (math.isfinite(self.min) and math.isfinite(self.max)):
            raise self._error("needs finite bounds")
        if self.min >= self.max:
            raise self._error(f"needs MIN below MAX, but {self.min!r} is not below {self.max!r}")
        if self.scaling == "log" and self.min <= 0:
            raise self._error(f"has log scaling, which needs MIN above 0, but MIN is {self.min!r}")
        if self.scaling == "reverse_log" and self.min <= 0 and not self._near_one:
            raise self._error("has reverse_log scaling, which needs MIN above 0, or MIN 0 and MAX below 1")
        if self.type == "int" and math.ceil(self.min) > math.floor(self.max):
            raise self._error(f"holds no integer: there is none between {self.min!r} and {self.max!r}")
        if self.type == "int" and max(abs(self.min), abs(self.max)) > LARGEST_INT:
            raise self._error("is of type int, whose bounds must lie within ±2^53")

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.min <= value <= self.max and (self.type == "float" or isinstance(value, int))

    @property
    def _near_one(self) -> bool:
        return self.min >= 0 and self.max < 1

    @property
    def low(self) -> int:
        """Smallest int of the range."""
        return math.ceil(self.min)

    @property
    def high(self) -> int:
        """Largest int of the range."""
        return math.floor(self.max)

    @property
    def size(self) -> int | None:
        """Number of ints, or None for a range of floats."""
        return self.high - self.low + 1 if self.type == "int" else None

    def at(self, index: int) -> Value:
        """Return int number `index`, 0 <= index < size; raises `ValueError` for a range of floats."""
        if self.type == "float":
            raise self._error("is a range of floats: its values cannot be counted")
        return self.low + index

    def from_unit(self, u: float) -> Value:
        """Return the value at `u`; a `u` outside [0, 1] counts as the nearer end. Never leaves the range."""
        if self.type == "float":
            low, high = float(self.min), float(self.max)
            if not 0.0 < u < 1.0:
                return low if u < 0.5 else high
            return min(max(float(self._scaled(Decimal(low), Decimal(high), u)), low), high)
        if self.low == self.high:
            return self.low
        wide = self._scaled(self.low - _HALF, self.high + _HALF, u)
        return min(max(int((wide + _HALF).to_integral_value(ROUND_FLOOR)), self.low), self.high)

    def to_unit(self, value: Value) -> float:
        """Return the coordinate of `value`; a number outside the range counts as the nearer end.

        Raises:
            ValueError: `value` is not a finite number.
        """
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise self._error(f"takes numbers, not {value!r}")
        if self.type == "float":
            return self._unscaled(self.min, self.max, min(max(value, self.min), self.max))
        if self.low == self.high:
            return 0.5
        return self._unscaled(self.low - 0.5, self.high + 0.5, min(max(value, self.low), self.high))

    def _scaled(self, a: Decimal, b: Decimal, u: float) -> Decimal:
        with localcontext(_EXACT):
            part = Decimal(min(max(u, 0.0), 1.0))
            if self.scaling == "linear":
                return a + part * (b - a)
            if self.scaling == "log":
                return a * (part * _log_ratio(b, a)).exp()
            if self._near_one:
                return 1 - (1 - a) * (part * _log_ratio(1 - b, 1 - a)).exp()
            return a + (b - a * ((1 - part) * _log_ratio(b, a)).exp())

    def _unscaled(self, a: float, b: float, x: float) -> float:
        if self.scaling == "linear":
            u = (x / 2 - a / 2) / (b / 2 - a / 2)  # halved: b - a may exceed the largest float
        elif self.scaling == "log":
            u = (math.log(x) - math.log(a)) / (math.log(b) - math.log(a))
        elif self._near_one:
            u = (math.log1p(-x) - math.log1p(-a)) / (math.log1p(-b) - math.log1p(-a))
        else:
            u = (math.log(b) - math.log(b - x + a)) / (math.log(b) - math.log(a))
        return min(max(u, 0.0), 1.0)

    def _error(self, text: str) -> ValueError:
        return ValueError(f"parameter '{self.name}' {text}")


Parameter: TypeAlias = Choice | Range


@dataclass(frozen=True, slots=True, init=False)
class Space:
    """The ordered parameters of a search.

    Raises:
        ValueError: there is no parameter, or two have the same name.
    """

    parameters: tuple[Parameter, ...]

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        object.__setattr__(self, "parameters", tuple(parameters))
        if not self.parameters:
            raise ValueError("a space needs at least one parameter")
        for position, name in enumerate(self.names):
            if name in self.names[:position]:
                raise ValueError(f"parameter '{name}' is given twice: each needs a name of its own")

    def __len__(self) -> int:
        return len(self.parameters)

    def __contains__(self, values: object) -> bool:
        """Whether `values` has a value inside its range or choice for every parameter, and nothing else."""
        if not isinstance(values, Mapping) or set(values) != set(self.names):
            return False
        return all(values[parameter.name] in parameter for parameter in self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def size(self) -> int | None:
        """Number of distinct points, or None when some parameter is a range of floats."""
        size = 1
        for parameter in self.parameters:
            if parameter.size is None:
                return None
            size *= parameter.size
        return size

    def at(self, index: int) -> dict[str, Value]:
        """Return point number `index` of a finite space, the last parameter running fastest.

        The point is decoded from the index: a space of 10^12 points costs no more than one of ten.

        Raises:
            ValueError: a parameter is a range of floats.
            IndexError: not 0 <= index < size.
        """
        values: dict[str, Value] = {}
        rest = index
        for parameter in reversed(self.parameters):
            rest, digit = divmod(rest, parameter.size or 1)
            values[parameter.name] = parameter.at(digit)
        if rest != 0:
            raise IndexError(f"point {index} of a space of {self.size}")
        return {name: values[name] for name in self.names}

    def from_unit(self, point: Sequence[float]) -> dict[str, Value]:
        """Return the values at a point of the unit cube, which has one coordinate for each parameter."""
        return {
            parameter.name: parameter.from_unit(u)
            for parameter, u in zip(self.parameters, point, strict=True)
        }

    def to_unit(self, values: Mapping[str, Value]) -> tuple[float, ...]:
        """Return the point of the unit cube at which `values` lie.

        Raises:
            ValueError: a value is missing, not a number, or not among the values of its choice.
        """
        missing = [name for name in self.names if name not in values]
        if missing:
            raise ValueError(f"there is no value for parameter '{missing[0]}'")
        return tuple(parameter.to_unit(values[parameter.name]) for parameter in self.parameters)


@lru_cache(maxsize=256)
def _log_ratio(b: Decimal, a: Decimal) -> Decimal:
    with localcontext(_EXACT):
        return (b / a).ln()


def _cell(u: float, count: int) -> int:
    return min(max(int(u * count), 0), count - 1)
