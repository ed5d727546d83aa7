"""A Gaussian process with a Matern-5/2 kernel, fitted by maximum a posteriori.

Notation (shapes; n observations, m points, d parameters):

    X      (n, d)     points of the unit cube; y (n,) normalised objectives
    l_k               length scale of parameter k; amplitude A and noise s: variances
    D_k    (n, m)     squared distance on parameter k; 1 between different values of a choice, which is
                      that of one-hot vectors times sqrt(1/2)
    r^2               sum over k of D_k / l_k^2
    k(r)              A (1 + q + q^2/3) exp(-q), q = sqrt(5) r
    theta  (d+2,)     log A, log s, log l_1 ... log l_d
    z      (d+2,)     whitened theta: theta = MEAN + F z, z standard normal under the prior
    L, W   (n, n)     Cholesky factor of K + s I, and its inverse
    alpha  (n,)       (K + s I)^-1 y

Sources: C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006), equations
2.23-2.26, 5.8, 5.9; the growing length scales: C. Hvarfner et al., "Vanilla Bayesian Optimization Performs
Great in High Dimensions" (2024); pending points: T. Desautels et al., "Parallelizing exploration-exploitation
tradeoffs in Gaussian process bandit optimization" (2014).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dtrtri
from scipy.optimize import fmin_l_bfgs_b

from augury_samplers.encoding import Array, Mask

JITTER = 1e-8
"""Added to the diagonal of a covariance, as a part of A."""

LEAST_VARIANCE = 1e-12
"""A variance that rounding made smaller, as a part of A, counts as this."""

LARGEST_Z = 5.0
"""The fit keeps within so many standard deviations of the prior."""

FIT_ITERATIONS = 20


class Prior:
    """The prior of theta: one normal distribution.

    log A ~ N(0, 1), log s ~ N(-6, 1.5). The log length scales share a level, N(log(d)/2 - 0.6, 1), from
    which each deviates by N(0, 0.7): the level lets a few observations speak for all parameters, and a
    parameter is declared irrelevant, or all-important, only on evidence.
    """

    def __init__(self, dimension: int) -> None:
        self.mean: Array = np.full(dimension + 2, 0.5 * math.log(dimension) - 0.6)
        self.mean[:2] = 0.0, -6.0
        covariance = np.full((dimension + 2, dimension + 2), 1.0)
        covariance[:2, :] = covariance[:, :2] = 0.0
        covariance[np.diag_indices(dimension + 2)] = [1.0, 1.5**2, *[1.0 + 0.7**2] * dimension]
        self.factor: Array = np.linalg.cholesky(covariance)

    def whiten(self, theta: Array) -> Array:
        """Return z of theta, kept within LARGEST_Z."""
        return np.clip(np.linalg.solve(self.factor, theta - self.mean), -LARGEST_Z, LARGEST_Z)

    def theta(self, z: Array) -> Array:
        """Return theta of z."""
        return self.mean + self.factor @ z


def squared_distances(a: Array, b: Array, choice: Mask) -> Array:
    """Return D (d, n, m) between the points `a` (n, d) and `b` (m, d)."""
    difference = a.T[:, :, None] - b.T[:, None, :]
    # Equal values of a choice have equal coordinates to the last bit: they come out of the same formula.
    return np.where(choice[:, None, None], difference != 0.0, difference * difference)


def fit(x: Array, y: Array, choice: Mask, starts: Iterable[Array]) -> Array:
    """Return the theta of the largest posterior density that L-BFGS finds from the `starts` (thetas)."""
    n, d = x.shape
    prior = Prior(d)
    distances = squared_distances(x, x, choice).reshape(d, n * n)
    found = [
        fmin_l_bfgs_b(
            negative_log_posterior,
            prior.whiten(start),
            args=(prior, distances, y),
            bounds=[(-LARGEST_Z, LARGEST_Z)] * (d + 2),
            maxiter=FIT_ITERATIONS,
        )
        for start in starts
    ]
    best: Array = min(found, key=lambda result: float(result[1]))[0]
    return prior.theta(best)


def negative_log_posterior(z: Array, prior: Prior, distances: Array, y: Array) -> tuple[float, Array]:
    """Return -log p(y | X, theta) - log p(theta) up to a constant, and its gradient in z.

    `distances` is D of the observations as (d, n*n). A matrix that cannot be factorised counts as very
    improbable.
    """
    n = len(y)
    theta = prior.theta(z)
    amplitude, noise, weights = math.exp(theta[0]), math.exp(theta[1]), np.exp(-2.0 * theta[2:])
    q = np.sqrt(5.0 * (weights @ distances)).reshape(n, n)
    decay = np.exp(-q)
    signal = amplitude * (1.0 + q + q * q / 3.0) * decay
    k = signal.copy()
    k[np.diag_indices(n)] += noise + JITTER * amplitude
    factor, failed = dpotrf(k, lower=1, clean=1)
    if failed:
        return 1e10, np.zeros_like(z)
    inverse, _ = dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    alpha = inverse @ y
    value = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor)).sum()) + 0.5 * float(z @ z)
    # dk / d log l_k = slope D_k / l_k^2;  the gradient is half the trace of (K^-1 - alpha alpha^T) dK.
    slope = (5.0 / 3.0) * amplitude * (1.0 + q) * decay
    g = inverse - np.outer(alpha, alpha)
    gradient = np.empty_like(theta)
    gradient[0] = np.sum(g * signal) + JITTER * amplitude * np.trace(g)
    gradient[1] = noise * np.trace(g)
    gradient[2:] = weights * (distances @ (g * slope).ravel())
    return value, prior.factor.T @ (0.5 * gradient) + z


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """The covariance of the function's values, as theta says."""

    theta: Array
    choice: Mask
    """(d,), which parameters are choices."""

    def __call__(self, a: Array, b: Array) -> Array:
        """Return k (n, m) between the points `a` (n, d) and `b` (m, d)."""
        return self.parts(a, b)[0]

    def parts(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Return k (n, m), and the slope (n, m) for which dk / dD_k = -slope / (2 l_k^2)."""
        q = np.sqrt(5.0 * self._squared_radius(a, b))
        decay = self.amplitude * np.exp(-q)
        return (1.0 + q + q * q / 3.0) * decay, (5.0 / 3.0) * (1.0 + q) * decay

    def with_noise(self, k: Array) -> Array:
        """Return `k` (n, n) with the noise added to its diagonal, and what keeps it definite."""
        added: Array = k + (math.exp(self.theta[1]) + JITTER * self.amplitude) * np.eye(len(k))
        return added

    @property
    def amplitude(self) -> float:
        """A, the variance before anything is observed."""
        return math.exp(self.theta[0])

    @property
    def weights(self) -> Array:
        """1 / l_k^2, (d,)."""
        weights: Array = np.exp(-2.0 * self.theta[2:])
        return weights

    def _squared_radius(self, a: Array, b: Array) -> Array:
        scaled = np.where(self.choice, 0.0, np.sqrt(self.weights))
        left, right = a * scaled, b * scaled
        squares = np.einsum("ij,ij->i", left, left)[:, None] + np.einsum("ij,ij->i", right, right)
        radius: Array = np.maximum(squares - 2.0 * left @ right.T, 0.0)
        for axis in np.flatnonzero(self.choice):
            radius += (a[:, axis, None] != b[:, axis]) * self.weights[axis]
        return radius


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What is known of the function: its mean and deviation anywhere in the cube, free of noise."""

    kernel: Kernel
    x: Array
    """(n, d), observed points, then pending ones."""
    w: Array
    """(n, n), the inverse Cholesky factor."""
    alpha: Array
    """(n,), 0 for pending points."""

    @staticmethod
    def of(kernel: Kernel, x: Array, y: Array) -> Posterior:
        """Condition on the observations `y` (n,) at `x` (n, d)."""
        w = _inverse_factor(kernel.with_noise(kernel(x, x)))
        return Posterior(kernel, x, w, w.T @ (w @ y))

    def with_pending(self, points: Array) -> Posterior:
        """Condition on the `points` (p, d) as if each had given exactly its expected value.

        The mean stays what it is and the deviation shrinks. The factor grows by p rows:
        W' = [[W, 0], [-V S W, V]] with S = k(points, X) W^T and V the inverse factor of what S leaves.
        """
        if not len(points):
            return self
        n, p = len(self.x), len(points)
        s = self.kernel(points, self.x) @ self.w.T
        v = _inverse_factor(self.kernel.with_noise(self.kernel(points, points) - s @ s.T))
        w = np.zeros((n + p, n + p))
        w[:n, :n], w[n:, :n], w[n:, n:] = self.w, -v @ (s @ self.w), v
        alpha = np.concatenate([self.alpha, np.zeros(p)])
        return Posterior(self.kernel, np.concatenate([self.x, points]), w, alpha)

    def mean_and_deviation(self, points: Array) -> tuple[Array, Array]:
        """Return the expected value (m,) and its standard deviation (m,) at `points` (m, d)."""
        k = self.kernel(points, self.x)
        return k @ self.alpha, self._deviation(k @ self.w.T)

    def bound_and_gradient(self, points: Array, kappa: float) -> tuple[Array, Array]:
        """Return mean + kappa deviation (m,) at `points` (m, d), and its gradient (m, d), 0 on choices."""
        k, slope = self.kernel.parts(points, self.x)
        v = k @ self.w.T
        deviation = self._deviation(v)
        # The derivative by k(x, X), times dk / dx_k = -slope (x_k - X_k) / l_k^2.
        pull = slope * (self.alpha - (kappa / deviation)[:, None] * (v @ self.w))
        weights = np.where(self.kernel.choice, 0.0, self.kernel.weights)
        gradient = weights * (pull @ self.x - pull.sum(axis=1)[:, None] * points)
        return k @ self.alpha + kappa * deviation, gradient

    def _deviation(self, v: Array) -> Array:
        variance = self.kernel.amplitude - np.einsum("ij,ij->i", v, v)
        deviation: Array = np.sqrt(np.maximum(variance, LEAST_VARIANCE * self.kernel.amplitude))
        return deviation


def _inverse_factor(k: Array) -> Array:
    """Return the inverse of the Cholesky factor of `k`, with as much jitter as that takes."""
    scale = float(np.trace(k)) / len(k)
    for jitter in (0.0, 1e-8, 1e-6, 1e-4, 1e-2, 1.0):
        factor, failed = dpotrf(k + jitter * scale * np.eye(len(k)), lower=1, clean=1)
        if not failed:
            inverse: Array = dtrtri(factor, lower=1)[0]
            return inverse
    raise np.linalg.LinAlgError("the matrix is far from being a covariance")
