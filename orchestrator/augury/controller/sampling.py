"""Between a search and its sampler: the space of a request, and suggestions as values and texts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from augury.spec import SearchSpec, Value, ValueSpec, number_of_runs, text_of
from augury.store.records import Assignment, RunRecord
from augury_samplers import Choice, Observation, Range, Sampler, Space, create


def space_of(spec: SearchSpec) -> Space:
    """Return the space that the sampler searches: lists by their texts, ranges by their numbers."""
    parameters: list[Choice | Range] = []
    for name, parameter in spec.space.items():
        if isinstance(parameter, ValueSpec):
            parameters.append(Choice(name, parameter.texts))
        else:
            parameters.append(Range(name, parameter.min, parameter.max, parameter.scaling, parameter.type))
    return Space(parameters)


def warm_up() -> None:
    """Load the model of the bayesian sampler in the background: it takes half a second, once."""
    threading.Thread(
        target=import_module, args=("augury_samplers.model",), name="warm-up", daemon=True
    ).start()


class Sampling:
    """The sampler of one search, its space, and the translation of what it suggests."""

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec
        self.space = space_of(spec)
        self.sampler: Sampler = create(spec.kind, num_runs=number_of_runs(spec))
        self._typed = {
            name: dict(zip(parameter.texts, parameter.values, strict=True))
            for name, parameter in spec.space.items()
            if isinstance(parameter, ValueSpec)
        }

    @property
    def adaptive(self) -> bool:
        """Whether suggestions depend on results."""
        return self.sampler.adaptive

    def suggest(
        self,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Value]],
        index: int,
        memo: dict[str, Any] | None,
    ) -> tuple[Assignment | None, dict[str, Any] | None]:
        """Return the values of run number `index` (None when the space is exhausted) and the new memo."""
        seed = self._spec.seed or 0
        suggestion, memo = self.sampler.suggest(self.space, observations, pending, seed, index, memo)
        return (None if suggestion is None else self._assignment(suggestion.values)), memo

    def _assignment(self, suggested: Mapping[str, Any]) -> Assignment:
        values: dict[str, Value] = {}
        texts: dict[str, str] = {}
        for name in self._spec.space:
            if name in self._typed:
                texts[name] = suggested[name]
                values[name] = self._typed[name][texts[name]]
            else:
                values[name] = suggested[name]
                texts[name] = text_of(values[name])
        return Assignment(values, texts)

    def observation(self, run: RunRecord) -> Observation:
        """Return a final run as the sampler is told of it: always to be maximised, None when it failed."""
        objective = run.objective
        if objective is not None and self._spec.goal == "minimize":
            objective = -objective
        return Observation(self.values_of(run.assignment), objective)

    def values_of(self, assignment: Assignment) -> dict[str, Value]:
        """Return an assignment as the sampler knows it: lists by their texts."""
        return {
            name: assignment.texts[name] if name in self._typed else value
            for name, value in assignment.values.items()
        }
