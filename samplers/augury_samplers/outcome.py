"""Objectives made fit for a Gaussian process: centred, straightened by a power transform, standardised.

Source: I.-K. Yeo and R. A. Johnson, "A new family of power transformations to improve normality or
symmetry", Biometrika 87 (2000). The order of the objectives is never changed (values beyond LIMIT tie).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augury_samplers.encoding import Array

LIMIT = 1e6
"""Objectives further than so many robust standard deviations from the median count as this far."""

LAMBDAS: Array = np.linspace(-2.0, 4.0, 25)
"""Exponents that are tried; 1 is the identity, below 1 compresses high values, above 1 low ones."""

LAMBDA_DEVIATION = 1.5
"""Prior of the exponent: normal around 1. A handful of objectives cannot tell a shape."""

_NORMAL_QUARTILES = 1.349


def normalised(objectives: Sequence[float | None]) -> Array:
    """Return objectives (n,) of mean 0 and deviation 1 over the finite ones, as long as these differ.

    None stands for a failed run and gets the worst value of the others, so that the model learns to keep
    away without a cliff that its neighbours would have to explain. At least one must be a finite number.
    """
    known = np.array([value is not None for value in objectives])
    straight = _standardised(
        _straightened(_centred(np.array([v for v in objectives if v is not None], float)))
    )
    result = np.full(len(objectives), straight.min())
    result[known] = straight
    return result


def _centred(values: Array) -> Array:
    """Subtract the median and divide by a robust deviation: one absurd value leaves the others apart."""
    halves = values / 2  # the difference of two finite numbers may exceed the largest one
    halves = halves - np.median(halves)
    low, high = np.percentile(halves, [25, 75])
    scale = (high - low) / _NORMAL_QUARTILES or np.abs(halves).max()
    if not scale > 0.0:
        return np.zeros_like(values)
    with np.errstate(over="ignore"):
        result: Array = np.clip(halves / scale, -LIMIT, LIMIT)
    return result


def _straightened(z: Array) -> Array:
    """Apply the Yeo-Johnson transform whose exponent is the most probable of LAMBDAS."""
    tried = np.stack([yeo_johnson(z, exponent) for exponent in LAMBDAS])
    variance = np.maximum(tried.var(axis=1), 1e-300)
    log_jacobian = (LAMBDAS - 1.0) * np.sum(np.sign(z) * np.log1p(np.abs(z)))
    log_prior = -0.5 * ((LAMBDAS - 1.0) / LAMBDA_DEVIATION) ** 2
    best: Array = tried[np.argmax(-0.5 * len(z) * np.log(variance) + log_jacobian + log_prior)]
    return best


def yeo_johnson(z: Array, exponent: float) -> Array:
    """Return ((1+z)^e - 1) / e for z >= 0 and -((1-z)^(2-e) - 1) / (2-e) below, by its limit at 0."""
    size = np.log1p(np.abs(z))
    return np.where(z >= 0.0, _power(size, exponent), -_power(size, 2.0 - exponent))


def _power(log_size: Array, exponent: float) -> Array:
    result: Array = log_size if exponent == 0.0 else np.expm1(exponent * log_size) / exponent
    return result


def _standardised(values: Array) -> Array:
    centred = values - values.mean()
    deviation = centred.std()
    return centred / deviation if deviation > 1e-12 else np.zeros_like(values)
