"""The array form of the unit cube agrees with the exact one."""

from __future__ import annotations

import numpy as np
import pytest

from augury_samplers import Choice, Parameter, Range, Space
from augury_samplers.encoding import Cube, Rungs

SPACE = Space(
    [
        Range("rate", 0.001, 1.0, "log"),
        Range("layers", 2, 9, "linear", "int"),
        Range("width", 1, 64, "log", "int"),
        Range("depth", 1, 20, "reverse_log", "int"),
        Range("fixed", 2.5, 3.5, "log", "int"),
        Choice("cell", ("gru", "lstm", "rnn")),
    ]
)


@pytest.mark.parametrize("parameter", SPACE.parameters[1:], ids=lambda parameter: parameter.name)
def test_rungs_are_the_values_of_the_parameter(parameter: Parameter) -> None:
    rungs = Rungs(parameter)
    numbers = np.arange(float(rungs.count))
    values = [parameter.at(int(number)) for number in numbers]
    assert rungs.unit(numbers) == pytest.approx([parameter.to_unit(value) for value in values], abs=1e-12)
    assert np.array_equal(rungs.nearest(rungs.unit(numbers)), numbers)
    anywhere = np.random.default_rng(1).random(500)
    assert [values[int(n)] for n in rungs.nearest(anywhere)] == [parameter.from_unit(u) for u in anywhere]


def test_snapped_points_stand_for_the_same_values() -> None:
    cube = Cube(SPACE)
    points = np.random.default_rng(2).random((200, len(SPACE)))
    snapped = cube.snap(points)
    assert [SPACE.from_unit(p) for p in snapped] == [SPACE.from_unit(p) for p in points]
    assert np.array_equal(cube.snap(snapped)[:, 1:], snapped[:, 1:])
    assert cube.encode([SPACE.from_unit(p) for p in points]) == pytest.approx(snapped, abs=1e-12)
    assert cube.encode([]).shape == (0, len(SPACE))


def test_every_point_of_a_finite_space_is_listed_in_order() -> None:
    space = Space(SPACE.parameters[4:] + SPACE.parameters[1:2])
    points = Cube(space).every_point()
    assert [space.from_unit(point) for point in points] == [space.at(index) for index in range(24)]


def test_a_step_changes_exactly_the_coordinates_it_is_along() -> None:
    cube = Cube(SPACE)
    rng = np.random.default_rng(3)
    points = cube.snap(0.2 + 0.6 * rng.random((300, len(SPACE))))
    steps = np.where(rng.random(points.shape) < 0.5, 0.001 * rng.standard_normal(points.shape), 0.0)
    moved = cube.moved(points, steps, rng)
    steps[:, 4] = 0.0  # there is no other value to go to
    for axis, parameter in enumerate(SPACE.parameters):
        ends = [parameter.to_unit(parameter.from_unit(u)) for u in (0.0, 1.0)]
        outwards = np.isclose(points[:, axis], ends[0]) & (steps[:, axis] < 0.0)
        outwards |= np.isclose(points[:, axis], ends[1]) & (steps[:, axis] > 0.0)
        may_move = (steps[:, axis] != 0.0) & (~outwards | cube.choice[axis])
        assert np.array_equal(moved[:, axis] != points[:, axis], may_move)
    assert np.array_equal(cube.snap(moved), moved)
