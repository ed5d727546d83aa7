"""Samplers: they decide which values the next run of a search gets. Pure mathematics.

    space = Space([Range("rate", 0.001, 1.0, "log"), Choice("cell", ["gru", "lstm"])])
    sampler = create("bayesian", num_runs=30)
    suggestion, memo = sampler.suggest(space, observations, pending, seed=7, index=12, memo=memo)

A sampler knows no storage, no network and no clock: its answer is a function of its arguments alone.
Importing this package is cheap; numpy and scipy are loaded when a model is first fitted.
"""

from augury_samplers.base import Memo, Observation, Sampler, Suggestion
from augury_samplers.registry import create, names
from augury_samplers.space import Choice, NumberType, Parameter, Range, Scaling, Space, Value

__all__ = [
    "Choice",
    "Memo",
    "NumberType",
    "Observation",
    "Parameter",
    "Range",
    "Sampler",
    "Scaling",
    "Space",
    "Suggestion",
    "Value",
    "create",
    "names",
]
