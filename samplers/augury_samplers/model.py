"""From observations to the points worth trying: encoding, outcome, fit and acquisition put together.

The one door to numpy and scipy: importing this module loads them. Processes that call it should run with
OPENBLAS_NUM_THREADS=1, set before that import: the matrices are small, and on a busy machine BLAS threads
that wait for one another make a suggestion several times slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from augury_samplers.acquisition import by_upper_bound
from augury_samplers.base import Memo, Observation
from augury_samplers.draws import bits
from augury_samplers.encoding import Array, Cube
from augury_samplers.gp import Kernel, Posterior, Prior, fit
from augury_samplers.outcome import normalised
from augury_samplers.space import Space, Value

MODEL_SIZE = 250
"""The model sees at most so many observations (fewer beyond 32 parameters)."""
PENDING_SIZE = 200
"""And at most so many pending points, the newest ones."""
_DISTANCES = 2_000_000
"""Largest count of numbers in the table of distances."""

REFIT_EVERY_UNTIL = 30
"""Up to so many observations each new one makes the model be fitted again; then every second one does."""
LARGEST_THETA = 50.0
"""No fit reaches this: a memo beyond it is damaged."""
MEMO_NUMBERS = 300
"""A longer theta is not kept: its JSON could exceed 4 KB."""
_MEMO_VERSION = 1


def propose(
    space: Space,
    observations: Sequence[Observation],
    pending: Sequence[Mapping[str, Value]],
    seed: int,
    index: int,
    kappa: float,
    memo: Memo,
) -> tuple[Iterator[dict[str, Value]], Memo]:
    """Return points of the space, the most promising first, and the new memo.

    At least one observation must have succeeded. The memo keeps the last fit, `theta`, and the number `n`
    of observations it is of: it makes the next fit start there, or spares it when nothing has landed.
    """
    cube = Cube(space)
    seen = chosen(observations, seed, len(space))
    x = cube.encode(observation.values for observation in seen)
    y = normalised([observation.objective if observation.succeeded else None for observation in seen])
    theta, fitted = _fitted(x, y, cube, len(observations), memo)
    posterior = Posterior.of(Kernel(theta, cube.choice), x, y)
    in_flight = cube.encode(pending[-PENDING_SIZE:])
    rng = np.random.Generator(np.random.PCG64(bits(seed, "bayesian", index)))
    points = by_upper_bound(posterior.with_pending(in_flight), x, in_flight, cube, kappa, rng)
    return (space.from_unit([float(u) for u in point]) for point in points), _memo(theta, fitted)


def chosen(observations: Sequence[Observation], seed: int, dimension: int) -> list[Observation]:
    """Return the observations for the model, in landing order; all of them as long as they are few.

    Else a third each: the best, the newest, and some at random, which stay the same as more land. The
    cost of a suggestion is bounded thereby.
    """
    limit = min(MODEL_SIZE, math.isqrt(_DISTANCES // dimension))
    if len(observations) <= limit:
        return list(observations)
    newest_first = range(len(observations) - 1, -1, -1)
    best_first = sorted(newest_first, key=lambda i: _worth(observations[i]), reverse=True)
    keep = set(best_first[: limit // 3]) | set(newest_first[: limit // 3])
    for i in sorted(newest_first, key=lambda i: bits(seed, "subset", i)):
        if len(keep) >= limit:
            break
        keep.add(i)
    return [observations[i] for i in sorted(keep)]


def _worth(observation: Observation) -> float:
    if observation.objective is None or not observation.succeeded:
        return -math.inf
    return observation.objective


def _fitted(x: Array, y: Array, cube: Cube, n: int, memo: Memo) -> tuple[Array, int]:
    """Return theta, and the number of observations it was fitted to."""
    last = _last_fit(memo, cube.dimension)
    if last is not None:
        theta, fitted = last
        if fitted <= n < fitted + (1 if n <= REFIT_EVERY_UNTIL else 2):
            return theta, fitted
    # Always from the prior as well: started from the last fit alone, a bad one may never be left again.
    starts = [Prior(cube.dimension).mean, *([last[0]] if last is not None else [])]
    # Rounded, because the memo is: the same theta whether or not it went through a memo.
    return np.round(fit(x, y, cube.choice, starts), 4), n


def _last_fit(memo: Memo, dimension: int) -> tuple[Array, int] | None:
    """Read a memo; None when it is of another version, space or author."""
    document: dict[str, Any] = memo or {}
    theta, n = document.get("theta"), document.get("n")
    if document.get("v") != _MEMO_VERSION or not isinstance(n, int) or not isinstance(theta, list):
        return None
    if len(theta) != dimension + 2:
        return None
    if not all(isinstance(number, int | float) and abs(number) < LARGEST_THETA for number in theta):
        return None
    return np.array(theta, dtype=np.float64), n


def _memo(theta: Array, n: int) -> Memo:
    if len(theta) > MEMO_NUMBERS:
        return None
    return {"v": _MEMO_VERSION, "n": n, "theta": [float(number) for number in theta]}
