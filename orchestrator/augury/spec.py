"""What a user asks for: the immutable request of a search, and its JSON form.

A parameter is either a list of values (`ValueSpec`) or a range (`RangeSpec`). The JSON form is what
travels over HTTP and what the store keeps, so every class here converts to and from it without loss.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from augury.errors import UsageError

Value: TypeAlias = int | float | str | bool
Kind = Literal["grid", "random", "bayesian", "run"]
Scaling = Literal["linear", "log", "reverse_log"]
NumberType = Literal["float", "int"]
Aggregation = Literal["avg", "min", "max", "last"]
Goal = Literal["maximize", "minimize"]

SCALINGS: tuple[Scaling, ...] = ("linear", "log", "reverse_log")
NUMBER_TYPES: tuple[NumberType, ...] = ("float", "int")
AGGREGATIONS: tuple[Aggregation, ...] = ("avg", "min", "max", "last")
GOALS: tuple[Goal, ...] = ("maximize", "minimize")

MAX_RUNS = 10_000
"""A search of more runs is refused unless `--max-runs` says otherwise."""

MAX_SNAPSHOT_BYTES = 100_000_000
"""The files of a snapshot are at most so large together."""

MAX_PACKED_BYTES = 110_000_000
"""A packed snapshot is at most so large: what does not shrink grows a little."""
GRACE_SECONDS = 30.0
"""What a run that is stopped has to end by itself, unless its request says otherwise."""

MAX_GRACE = 86_400.0

MAX_RETRIES = 100

MIN_LOST_AFTER = 6.0
"""Seconds; with less a worker would have to give its run up within 2 s (see `attempt.fence_seconds`)."""


def text_of(value: Value) -> str:
    """Return the text that stands for `value` in a command: strings as they are, floats by `repr`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float.__repr__(value)  # not repr: numpy's float64 is a float and writes its own name
    return value if isinstance(value, str) else repr(value)


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """A list of values, each with the text that replaces the placeholder (as the user typed it)."""

    values: tuple[Value, ...]
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for given in (self.values, self.texts):
            if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
                raise UsageError(f"the values of a parameter must be a list, but not {given!r}")
        object.__setattr__(self, "values", tuple(self.values))
        for value in self.values:
            if not isinstance(value, int | float | str):
                raise UsageError(f"a value must be a number, a string, true or false, but not {value!r}")
        texts = tuple(self.texts) or tuple(text_of(value) for value in self.values)
        object.__setattr__(self, "texts", texts)
        if not self.values:
            raise UsageError("a list of values must not be empty")
        if len(self.texts) != len(self.values):
            raise UsageError("texts and values must be of the same length")
        if not all(isinstance(text, str) for text in self.texts):
            raise UsageError("the texts of values must be strings")

    def to_json(self) -> dict[str, Any]:
        """Return `{"values": [...]}`, with `"texts"` only where a spelling is not the usual one."""
        usual = tuple(text_of(value) for value in self.values)
        document: dict[str, Any] = {"values": list(self.values)}
        if usual != self.texts:
            document["texts"] = list(self.texts)
        return document


@dataclass(frozen=True, slots=True)
class RangeSpec:
    """A range of numbers from `min` to `max`, both included."""

    min: float
    max: float
    scaling: Scaling = "linear"
    type: NumberType = "float"

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise UsageError(f"unknown scaling '{self.scaling}': use one of {', '.join(SCALINGS)}")
        if self.type not in NUMBER_TYPES:
            raise UsageError(f"unknown type '{self.type}': use one of {', '.join(NUMBER_TYPES)}")
        for bound in (self.min, self.max):
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise UsageError(f"the bounds of a range must be numbers, but not {bound!r}")
            if not abs(bound) <= sys.float_info.max:  # false for NaN too; isfinite overflows on a huge int
                raise UsageError("the bounds of a range must be finite numbers")
        if self.min >= self.max:
            raise UsageError(
                f"MIN must be below MAX, but {text_of(self.min)} is not below {text_of(self.max)}"
            )
        if self.scaling == "log" and self.min <= 0:
            raise UsageError(f"log scaling needs MIN above 0, but MIN is {text_of(self.min)}")
        if self.scaling == "reverse_log" and self.min <= 0 and not (self.min == 0 and self.max < 1):
            raise UsageError("reverse_log scaling needs MIN above 0 (or 0 <= MIN with MAX below 1)")
        if self.type == "int":
            self._check_int()

    def _check_int(self) -> None:
        if math.ceil(self.min) > math.floor(self.max):
            raise UsageError(f"no integer lies between {text_of(self.min)} and {text_of(self.max)}")
        if max(abs(self.min), abs(self.max)) > 2**53:
            raise UsageError("the bounds of an int range must lie within ±2^53")

    def to_json(self) -> dict[str, Any]:
        """Return `{"min", "max", "scaling", "type"}`."""
        return asdict(self)


ParameterSpec: TypeAlias = ValueSpec | RangeSpec


def parameter_from_json(document: Mapping[str, Any]) -> ParameterSpec:
    """Read one parameter back from its JSON form.

    Raises:
        UsageError: neither `values` nor `min` and `max` are there, or they are not valid.
    """
    if "values" in document:
        return ValueSpec(document["values"], document.get("texts", ()))
    try:
        return RangeSpec(
            document["min"], document["max"], document.get("scaling", "linear"), document.get("type", "float")
        )
    except KeyError as error:
        raise UsageError("a parameter needs 'values', or 'min' and 'max'") from error


@dataclass(frozen=True, slots=True)
class Command:
    """A command template: either the words of an argv, or one shell line. Exactly one is set."""

    argv: tuple[str, ...] = ()
    shell: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return `{"argv": [...]}` or `{"shell": "..."}`."""
        return {"shell": self.shell} if self.shell else {"argv": list(self.argv)}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Command:
        """Read a command back; raises `UsageError` when it is empty or both forms are given."""
        command = Command(tuple(document.get("argv") or ()), document.get("shell") or "")
        if bool(command.argv) == bool(command.shell):
            raise UsageError("a command needs either 'argv' (words) or 'shell' (one line)")
        return command


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """The immutable request of a search; `kind` `run` is a single run outside any search."""

    kind: Kind
    command: Command
    space: Mapping[str, ParameterSpec] = field(default_factory=dict)
    num_runs: int | None = None
    """Maximum number of runs; None for a grid, which has as many as it has combinations."""
    parallel_runs: int | None = None
    """At most so many non-final runs at a time; None is no limit."""
    metric: str | None = None
    metric_agg: Aggregation = "last"
    goal: Goal = "maximize"
    seed: int | None = None
    """None until the server has drawn one."""
    machine_type: str | None = None
    cwd: str = "/"
    """Where a run starts: an absolute path on the worker's machine, or one inside the snapshot."""
    snapshot: str | None = None
    """SHA-256 (hexadecimal) of the packed files that each run gets; None: it sees those of its machine."""
    environment: Mapping[str, str] | None = None
    """The submitting shell's variables; taken out and kept in a 0600 file, never stored or listed."""
    umask: int | None = None
    """The submitting shell's file mode mask, 0 to 0o777; None is the worker's own."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of `--env`, set on top."""
    metric_regex: Sequence[tuple[str, str]] = ()
    """Pairs (metric name, regular expression with one group) applied to each line of output."""
    labels: Sequence[str] = ()
    description: str = ""
    max_runs: int = MAX_RUNS
    """Refuse a search of more runs than this."""
    lost_after: float | None = None
    """Seconds after which a silent attempt is given up, at least `MIN_LOST_AFTER`; None: the server's."""

    retries: int | None = None
    """How often a run whose worker was lost is executed again, 0 to `MAX_RETRIES`; None: the server's."""
    timeout: float | None = None
    """Seconds after which a run is stopped, above 0; None: never."""
    grace: float = GRACE_SECONDS
    """Seconds between SIGTERM and SIGKILL when a run is stopped, 0 to `MAX_GRACE`."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, parameters in the order they were given."""
        return {
            "kind": self.kind,
            "command": self.command.to_json(),
            "space": {name: parameter.to_json() for name, parameter in self.space.items()},
            "num_runs": self.num_runs,
            "parallel_runs": self.parallel_runs,
            "metric": self.metric,
            "metric_agg": self.metric_agg,
            "goal": self.goal,
            "seed": self.seed,
            "machine_type": self.machine_type,
            "cwd": self.cwd,
            "snapshot": self.snapshot,
            "environment": dict(self.environment) if self.environment is not None else None,
            "umask": self.umask,
            "env": dict(self.env),
            "metric_regex": [list(pair) for pair in self.metric_regex],
            "labels": list(self.labels),
            "description": self.description,
            "max_runs": self.max_runs,
            "lost_after": self.lost_after,
            "retries": self.retries,
            "timeout": self.timeout,
            "grace": self.grace,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> SearchSpec:
        """Read a request back from its JSON form; unknown keys are refused by name."""
        known = set(SearchSpec.__dataclass_fields__)
        unknown = sorted(set(document) - known)
        if unknown:
            raise UsageError(f"unknown field '{unknown[0]}': a search has {', '.join(sorted(known))}")
        _check_shapes(document)
        # A field that is null is one left out.
        fields = {name: value for name, value in document.items() if value is not None}
        fields["command"] = Command.from_json(fields.get("command") or {})
        fields["space"] = {
            name: parameter_from_json(parameter) for name, parameter in (fields.get("space") or {}).items()
        }
        fields["metric_regex"] = tuple((name, regex) for name, regex in fields.get("metric_regex") or ())
        fields["labels"] = tuple(fields.get("labels") or ())
        return SearchSpec(**fields)


_SHAPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("kind", "metric", "metric_agg", "goal", "machine_type", "cwd", "snapshot", "description"),
        ("a string", lambda value: isinstance(value, str)),
    ),
    **dict.fromkeys(
        ("num_runs", "parallel_runs", "seed", "max_runs", "retries"),
        ("an integer within ±2^63", lambda value: type(value) is int and abs(value) < 2**63),
    ),
    **dict.fromkeys(
        ("lost_after", "timeout", "grace"),
        ("a number of seconds", lambda value: type(value) in (int, float)),
    ),
    "umask": ("an integer from 0 to 0o777", lambda value: type(value) is int and 0 <= value <= 0o777),
    **dict.fromkeys(("command", "space"), ("an object", lambda value: isinstance(value, dict))),
    **dict.fromkeys(
        ("environment", "env"),
        ("an object of strings", lambda value: isinstance(value, dict) and _all_strings(value.values())),
    ),
    "labels": ("a list of strings", lambda value: isinstance(value, list) and _all_strings(value)),
    "metric_regex": (
        "a list of pairs of strings",
        lambda value: (
            isinstance(value, list)
            and all(isinstance(pair, list) and len(pair) == 2 and _all_strings(pair) for pair in value)
        ),
    ),
}


def _all_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_shapes(document: Mapping[str, Any]) -> None:
    """Refuse a request in JSON with a field of the wrong type, by name."""
    for name, (words, fits) in _SHAPES.items():
        value = document.get(name)
        if value is not None and not fits(value):
            raise UsageError(f"field '{name}' must be {words}")
    if document.get("kind") is None:
        raise UsageError("field 'kind' is missing")


def number_of_runs(spec: SearchSpec) -> int:
    """Return how many runs a search has at most; nothing is built for it, so 10^12 cost nothing.

    Raises:
        UsageError: a grid with a range, no `--num-runs` where it is needed, or more runs than allowed.
    """
    if spec.kind == "run":
        return 1
    if spec.kind == "grid":
        for name, parameter in spec.space.items():
            if isinstance(parameter, RangeSpec):
                raise UsageError(f"parameter '{name}' is a range: a grid takes lists of values")
        total = math.prod(len(p.values) for p in spec.space.values() if isinstance(p, ValueSpec))
    else:
        if spec.num_runs is None:
            raise UsageError(f"a {spec.kind} search needs --num-runs")
        total = spec.num_runs
    if total > spec.max_runs:
        raise UsageError(
            f"this search has {total:,} runs, more than the limit of {spec.max_runs:,}: "
            f"take fewer, or raise the limit with --max-runs {total} (max_runs={total} in Python)"
        )
    return total
