"""The Gaussian process: gradients, the growing factor, hard matrices."""

from __future__ import annotations

import numpy as np
import pytest

from augury_samplers.encoding import Array, Mask
from augury_samplers.gp import (
    Kernel,
    Posterior,
    Prior,
    _inverse_factor,
    fit,
    negative_log_posterior,
    squared_distances,
)

D = 3
CHOICE: Mask = np.array([False, False, True])


def observed(n: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, D))
    x[:, 2] = (rng.integers(0, 3, n) + 0.5) / 3
    y = np.sin(5 * x[:, 0]) + x[:, 2] + 0.01 * rng.standard_normal(n)
    return x, (y - y.mean()) / y.std()


def fitted(n: int = 20) -> tuple[Posterior, Array, Array]:
    x, y = observed(n)
    theta = fit(x, y, CHOICE, [Prior(D).mean])
    return Posterior.of(Kernel(theta, CHOICE), x, y), x, y


def numeric(function: object, at: Array) -> Array:
    steps = 1e-6 * np.eye(len(at))
    return np.array([(function(at + h) - function(at - h)) / 2e-6 for h in steps])  # type: ignore[operator]


def test_the_gradient_of_the_fit_is_the_derivative() -> None:
    x, y = observed(12)
    prior, table = Prior(D), squared_distances(x, x, CHOICE).reshape(D, -1)
    for z in np.random.default_rng(1).normal(size=(4, D + 2)):
        _, gradient = negative_log_posterior(z, prior, table, y)
        expected = numeric(lambda at: negative_log_posterior(at, prior, table, y)[0], z)
        assert gradient == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_gradient_of_the_bound_is_the_derivative_and_zero_on_choices() -> None:
    posterior, *_ = fitted()
    points, _ = observed(5, seed=2)
    bounds, gradient = posterior.bound_and_gradient(points, 1.5)
    mean, deviation = posterior.mean_and_deviation(points)
    assert bounds == pytest.approx(mean + 1.5 * deviation)
    for point, derivative in zip(points, gradient, strict=True):
        expected = numeric(lambda at: posterior.bound_and_gradient(at[None, :], 1.5)[0][0], point)
        assert derivative[:2] == pytest.approx(expected[:2], rel=1e-4, abs=1e-5)
        assert derivative[2] == 0.0


def test_the_model_interpolates_and_returns_to_the_prior_far_away() -> None:
    posterior, x, y = fitted(30)
    mean, deviation = posterior.mean_and_deviation(x)
    assert mean == pytest.approx(y, abs=0.15)
    _, far = posterior.mean_and_deviation(x + 1000.0)
    assert far**2 == pytest.approx(posterior.kernel.amplitude)
    assert (deviation < 0.3 * far).all()


def test_irrelevant_parameters_get_the_longer_length_scales() -> None:
    x, y = observed(30)
    lengths = fit(x, y, CHOICE, [Prior(D).mean])[2:]
    assert lengths[1] > lengths[0] + 0.5


def test_pending_points_shrink_the_deviation_and_leave_the_mean() -> None:
    posterior, x, y = fitted()
    points, _ = observed(6, seed=3)
    grown = posterior.with_pending(points)
    probe, _ = observed(40, seed=4)
    mean, deviation = posterior.mean_and_deviation(probe)
    grown_mean, grown_deviation = grown.mean_and_deviation(probe)
    assert grown_mean == pytest.approx(mean, abs=1e-8)
    assert (grown_deviation <= deviation + 1e-9).all()
    expected = posterior.mean_and_deviation(points)[0]
    whole = Posterior.of(posterior.kernel, np.concatenate([x, points]), np.concatenate([y, expected]))
    assert grown_deviation == pytest.approx(whole.mean_and_deviation(probe)[1], rel=1e-6)
    assert grown_mean == pytest.approx(whole.mean_and_deviation(probe)[0], abs=1e-6)
    assert posterior.with_pending(points[:0]) is posterior


def test_the_prior_knows_its_whitening() -> None:
    prior = Prior(4)
    theta = prior.mean + np.array([0.3, -1.0, 0.5, 0.2, 0.4, -0.1])
    assert prior.theta(prior.whiten(theta)) == pytest.approx(theta)
    assert np.abs(prior.whiten(theta + 1e6)).max() == 5.0


def test_repeated_points_and_singular_matrices_are_survived() -> None:
    x = np.full((12, D), 0.5)
    y = np.linspace(-1.0, 1.0, 12)
    theta = fit(x, y, CHOICE, [Prior(D).mean])
    posterior = Posterior.of(Kernel(theta, CHOICE), x, y).with_pending(x)
    assert np.isfinite(posterior.mean_and_deviation(x)[0]).all()
    assert posterior.mean_and_deviation(x[:1])[0][0] == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(_inverse_factor(np.ones((5, 5)))).all()
    with pytest.raises(np.linalg.LinAlgError, match="far from being a covariance"):
        _inverse_factor(np.array([[1.0, 9.0], [9.0, 1.0]]))
