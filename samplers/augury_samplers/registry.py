"""Samplers by name: the three built in, and those of installed packages.

Another package adds a sampler by an entry point of the group `augury.samplers` that names a class (or any
callable) which takes the options of `create` as keywords. A built-in name cannot be taken over.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from augury_samplers.base import Sampler

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

ENTRY_POINT_GROUP = "augury.samplers"

BUILT_IN = {
    "grid": "augury_samplers.grid:GridSampler",
    "random": "augury_samplers.random:RandomSampler",
    "bayesian": "augury_samplers.bayesian:BayesianSampler",
}


def create(name: str, **options: Any) -> Sampler:
    """Return the sampler called `name`, built with `options` (all built-in ones take `num_runs`).

    Raises:
        ValueError: there is no sampler of this name.
    """
    return _factory(name)(**options)


def names() -> tuple[str, ...]:
    """Return the names of all samplers, the built-in ones first."""
    others = sorted(_installed().names - set(BUILT_IN))
    return (*BUILT_IN, *others)


def _factory(name: str) -> Callable[..., Sampler]:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast("Callable[..., Sampler]", getattr(import_module(module), attribute))
    installed = _installed()
    if name not in installed.names:
        known = names()
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ValueError(f"unknown sampler '{name}': {hint}Use one of {', '.join(known)}")
    return cast("Callable[..., Sampler]", installed[name].load())


def _installed() -> EntryPoints:
    # Imported here: it takes 30 ms, and the built-in samplers do not need it.
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINT_GROUP)
