"""Objectives are centred, straightened and standardised, whatever they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from augury_samplers.outcome import LIMIT, normalised, yeo_johnson

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.one_of(st.none(), FINITE), min_size=1, max_size=30).filter(any))
@example([1.7e308, -1.7e308, 0.0])
@example([5e-324, 0.0, 0.0, 5e-324])
@example([1e30, 0.1, 0.2, 0.3])
def test_the_order_is_kept_and_the_scale_is_one(objectives: list[float | None]) -> None:
    result = normalised(objectives)
    known = np.array([value is not None for value in objectives])
    values = np.array([value for value in objectives if value is not None])
    assert np.isfinite(result).all()
    assert (np.diff(result[known][np.argsort(values)]) >= 0).all()
    assert result[known].mean() == pytest.approx(0.0, abs=1e-9)
    assert result[known].std() == pytest.approx(1.0) or not result.any()


def test_failed_runs_get_the_worst_value_and_do_not_shift_the_others() -> None:
    result = normalised([0.3, None, 0.9, 0.5, None])
    assert result[1] == result[4] == result[0] == result.min()
    assert np.array_equal(result[[0, 2, 3]], normalised([0.3, 0.9, 0.5]))


def test_equal_objectives_become_zero() -> None:
    assert not normalised([0.1, 0.1, 0.1]).any()
    assert not normalised([0.1, None]).any()
    assert not normalised([-1e308, -1e308]).any()


def test_one_absurd_value_leaves_the_others_apart() -> None:
    values = [*np.linspace(0.1, 0.9, 20), -1e30]
    assert np.ptp(normalised(values)[:20]) > 1.0


def test_a_heavy_tail_is_drawn_in() -> None:
    values = -np.exp(4.0 * np.random.default_rng(0).standard_normal(60))
    plain = (values - values.mean()) / values.std()
    assert plain.min() < -5.0 < -3.5 < normalised(list(values)).min()
    assert abs(np.median(normalised(list(values)))) < 0.6


@pytest.mark.parametrize("exponent", [-2.0, -0.25, 0.0, 0.5, 1.0, 2.0, 3.75])
def test_the_transform_is_that_of_yeo_and_johnson(exponent: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    z = np.linspace(-9.0, 9.0, 41)
    assert yeo_johnson(z, exponent) == pytest.approx(stats.yeojohnson(z, lmbda=exponent), rel=1e-9)
    assert np.isfinite(yeo_johnson(np.array([-LIMIT, LIMIT]), exponent)).all()
