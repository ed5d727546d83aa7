"""From the words of a command line to typed values, without pydantic.

Typer builds a pydantic adapter for each option of each command line, which costs more time than all the
rest of a command's start. Our options are texts, numbers and choices, so a few lines do; they also say what
is wrong in the words of a command line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from typer import BadParameter
from typer.core import TyperArgument, TyperOption

if TYPE_CHECKING:
    from typer import Context

Parameter = TyperOption | TyperArgument


class Words:
    """Coerces the words of one option or argument; stands in for Typer's own `RuntimeParam`."""

    def __init__(self, annotation: Any) -> None:
        self._many = get_origin(annotation) is list
        self._kind = get_args(annotation)[0] if self._many else annotation

    def coerce(self, value: Any, param: Any, ctx: Context) -> Any:
        """Return the typed value of `value`; None stays None, several words become a list."""
        if value is None:
            return () if self._many else None
        if self._many:
            return [self._one(item, param, ctx) for item in value]
        return self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: Context) -> Any:
        if get_origin(self._kind) is Literal:
            return self._choice(value, param, ctx)
        if self._kind in (int, float):
            return self._number(value, param, ctx)
        return value

    def _choice(self, value: str, param: Any, ctx: Context) -> str:
        allowed: tuple[str, ...] = get_args(self._kind)
        if value.lower() not in allowed:
            raise BadParameter(f"'{value}' is not one of {', '.join(allowed)}", ctx=ctx, param=param)
        return value.lower()

    def _number(self, value: str, param: Any, ctx: Context) -> float:
        what = "a whole number" if self._kind is int else "a number"
        try:
            number: float = self._kind(value)
        except ValueError:
            raise BadParameter(f"'{value}' is not {what}", ctx=ctx, param=param) from None
        if not math.isfinite(number) or (param.min is not None and number < param.min):
            least = "" if param.min is None else f" of at least {param.min}"
            raise BadParameter(f"'{value}' is not {what}{least}", ctx=ctx, param=param)
        return number


def lighten(parameters: Iterable[object]) -> None:
    """Make Typer coerce these parameters with `Words`."""
    for parameter in parameters:
        if isinstance(parameter, Parameter) and parameter._runtime_param is None:
            parameter._runtime_param = Words(parameter.type_descriptor.annotation)  # type: ignore[assignment]
