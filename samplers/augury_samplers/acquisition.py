"""Where to try next: the search for the point of the highest upper confidence bound.

Half of the candidates are spread over the whole cube, half lie around the best points seen, at all scales
and along few coordinates; the best few are then polished by L-BFGS. A small finite space is looked through.
Source of the bound: N. Srinivas et al., "Gaussian process optimization in the bandit setting" (2010).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import fmin_l_bfgs_b

from augury_samplers.encoding import Array, Cube, Mask
from augury_samplers.gp import Posterior

GLOBAL_CANDIDATES = 600
LOCAL_CANDIDATES = 600
CENTRES = 4
"""Local candidates lie around so many points."""
POLISHED = 3
POLISH_ITERATIONS = 20
CROWD = 0.005
"""Points closer to a pending one than this times kappa come last: only noise speaks for trying both."""
LEAST_UPSIDE = 0.01
"""Part of a standard deviation of the objectives that a new point must promise above the best known mean."""
LARGEST_KAPPA = 16.0
LOOK_THROUGH = 2048
"""A finite space of at most so many points is looked through as a whole."""


def by_upper_bound(
    posterior: Posterior, observed: Array, pending: Array, cube: Cube, kappa: float, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield points (d,) to try, the one of the highest mean + kappa deviation first.

    Where that bound promises next to nothing over the best point known, the model believes that it has
    found the maximum, and another look at it would be wasted: kappa is doubled until somewhere there is
    more to hope for. `observed` (n, d) are the points that the centres of the local search come from.
    """
    points = _candidates(posterior, observed, cube, rng)
    mean, deviation = posterior.mean_and_deviation(points)
    crowd = CROWD * kappa
    mean[_crowded(points, pending, crowd)] = -np.inf
    known = posterior.mean_and_deviation(posterior.x)[0].max()
    while kappa < LARGEST_KAPPA and np.max(mean + kappa * deviation) < known + LEAST_UPSIDE:
        kappa = min(2.0 * kappa, LARGEST_KAPPA)
    bounds = mean + kappa * deviation
    if cube.continuous.any():
        best = np.argsort(-bounds, kind="stable")[:POLISHED]
        polished, their_bounds = _polish(posterior, points[best], cube, kappa)
        their_bounds[_crowded(polished, pending, crowd)] = -np.inf
        points, bounds = np.concatenate([polished, points]), np.concatenate([their_bounds, bounds])
    for number in np.argsort(-bounds, kind="stable"):
        yield points[number]


def _crowded(points: Array, pending: Array, reach: float) -> Mask:
    """Return which of the `points` (m, d) lie within `reach` of a pending one on every parameter."""
    crowded: Mask = np.zeros(len(points), dtype=np.bool_)
    for other in pending:
        crowded |= np.abs(points - other).max(axis=1) < reach
    return crowded


def _candidates(posterior: Posterior, observed: Array, cube: Cube, rng: np.random.Generator) -> Array:
    size = cube.space.size
    if size is not None and size <= LOOK_THROUGH:
        every = cube.every_point()
        return every[rng.permutation(len(every))]  # so that ties fall anywhere
    spread = cube.snap(rng.random((GLOBAL_CANDIDATES, cube.dimension)))
    best_first = np.argsort(-posterior.mean_and_deviation(observed)[0], kind="stable")
    centres = observed[best_first[:CENTRES]]
    return np.concatenate([spread, _around(centres, cube, rng)])


def _around(centres: Array, cube: Cube, rng: np.random.Generator) -> Array:
    """Return LOCAL_CANDIDATES neighbours: steps of 0.001 to 0.3, along one coordinate to all of them."""
    shape = (LOCAL_CANDIDATES, cube.dimension)
    points = centres[np.arange(LOCAL_CANDIDATES) % len(centres)]
    scale = 10.0 ** rng.uniform(-3.0, -0.5, (LOCAL_CANDIDATES, 1))
    along = rng.random(shape) < rng.random((LOCAL_CANDIDATES, 1))
    along[np.arange(LOCAL_CANDIDATES), rng.integers(0, cube.dimension, LOCAL_CANDIDATES)] = True
    return cube.moved(points, along * scale * rng.standard_normal(shape), rng)


def _polish(posterior: Posterior, starts: Array, cube: Cube, kappa: float) -> tuple[Array, Array]:
    """Return the local maxima (m, d) of the bound uphill from `starts`, and their bounds (m,).

    Ints and choices stay as they are. All starts climb in one run of L-BFGS on the sum of their bounds.
    """
    free = np.flatnonzero(cube.continuous)

    def placed(flat: Array) -> Array:
        points = starts.copy()
        points[:, free] = flat.reshape(len(starts), len(free))
        return points

    def downhill(flat: Array) -> tuple[float, Array]:
        bounds, gradient = posterior.bound_and_gradient(placed(flat), kappa)
        return -float(bounds.sum()), -gradient[:, free].ravel()

    flat = starts[:, free].ravel()
    box = [(0.0, 1.0)] * len(flat)
    best = fmin_l_bfgs_b(downhill, flat, bounds=box, maxiter=POLISH_ITERATIONS)[0]
    polished = np.clip(placed(best), 0.0, 1.0)
    return polished, posterior.bound_and_gradient(polished, kappa)[0]
