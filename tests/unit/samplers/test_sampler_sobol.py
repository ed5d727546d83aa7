"""The scrambled Sobol sequence."""

from __future__ import annotations

import pytest

from augury_samplers.sobol import BITS, MAX_DIMENSION, raw, scrambled


@pytest.mark.parametrize("level", [1, 2, 3, 4, 6])
def test_every_coordinate_visits_every_cell_once(level: int) -> None:
    count = 2**level
    for axis in range(MAX_DIMENSION):
        assert {raw(index, axis) >> (BITS - level) for index in range(count)} == set(range(count))
    points = [scrambled(9, index, MAX_DIMENSION) for index in range(count)]
    for axis in range(MAX_DIMENSION):
        assert {int(point[axis] * count) for point in points} == set(range(count))


def test_pairs_of_early_coordinates_fill_every_box() -> None:
    for seed in range(5):
        points = [scrambled(seed, index, 2) for index in range(16)]
        assert {(int(x * 4), int(y * 4)) for x, y in points} == {(i, j) for i in range(4) for j in range(4)}


def test_the_sequence_is_that_of_joe_and_kuo() -> None:
    qmc = pytest.importorskip("scipy.stats").qmc
    theirs = qmc.Sobol(MAX_DIMENSION, scramble=False, bits=BITS).random(128)
    ours = [tuple(raw(index, axis) / 2.0**BITS for axis in range(MAX_DIMENSION)) for index in range(128)]
    assert {tuple(point) for point in theirs} == set(ours)  # theirs comes in the order of a Gray code


def test_seeds_scramble_differently_and_each_point_is_uniform() -> None:
    firsts = [scrambled(seed, 0, 1)[0] for seed in range(400)]
    assert len(set(firsts)) == 400
    assert sum(firsts) / 400 == pytest.approx(0.5, abs=0.05)
    assert sum(u < 0.1 for u in firsts) == pytest.approx(40, abs=20)


def test_more_parameters_than_direction_numbers_are_served() -> None:
    point = scrambled(1, 3, 60)
    assert len(point) == 60
    assert all(0.0 <= u < 1.0 for u in point)
    assert len(set(point)) == 60
