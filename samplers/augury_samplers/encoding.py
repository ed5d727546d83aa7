"""The unit cube of a space as arrays: points, the rungs of discrete parameters, steps to neighbours.

Shapes: d parameters, m points; points are (m, d) arrays in [0, 1]. On a discrete parameter (ints, choices)
only the coordinates of its values ("rungs", numbered from 0) are used, in the model as in the suggestions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from augury_samplers.space import Choice, Parameter, Range, Space, Value

Array: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]


class Rungs:
    """The values of one discrete parameter on [0, 1]: the array form of `from_unit` and `to_unit`.

    Ints on a log scale are rounded from exp(start + u length), start = log(low - 1/2); on reverse_log the
    same is mirrored; all others have cells of equal width.
    """

    def __init__(self, parameter: Parameter) -> None:
        self.count = parameter.size or 1
        self._equal, self._mirrored = True, False
        if isinstance(parameter, Range) and parameter.scaling != "linear" and self.count > 1:
            self._equal, self._mirrored = False, parameter.scaling == "reverse_log"
            self._low = parameter.low
            self._start = math.log(parameter.low - 0.5)
            self._length = math.log(parameter.high + 0.5) - self._start

    def nearest(self, u: Array) -> Array:
        """Return the numbers (whole floats) of the rungs in whose cells the coordinates `u` lie."""
        if self._equal:
            number = np.floor(u * self.count)
        else:
            exponent = self._start + (1.0 - u if self._mirrored else u) * self._length
            number = np.rint(np.exp(exponent)) - self._low
        number = np.clip(number, 0.0, self.count - 1.0)
        return self.count - 1 - number if self._mirrored else number

    def unit(self, number: Array) -> Array:
        """Return the coordinates of rungs."""
        if self._equal:
            return (number + 0.5) / self.count
        steps = self.count - 1 - number if self._mirrored else number
        u = (np.log(self._low + steps) - self._start) / self._length
        return 1.0 - u if self._mirrored else u


class Cube:
    """What the model has to know of a space."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.dimension = len(space)
        self.rungs: dict[int, Rungs] = {
            axis: Rungs(parameter)
            for axis, parameter in enumerate(space.parameters)
            if parameter.size is not None
        }
        self.choice: Mask = np.array([isinstance(parameter, Choice) for parameter in space.parameters])
        self.continuous: Mask = np.array([axis not in self.rungs for axis in range(self.dimension)])

    def encode(self, points: Iterable[Mapping[str, Value]]) -> Array:
        """Return the points (m, d) at which these values lie."""
        rows = [self.space.to_unit(values) for values in points]
        return self.snap(np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension))

    def snap(self, points: Array) -> Array:
        """Return a copy in which every discrete coordinate is that of its nearest value."""
        snapped = np.clip(points, 0.0, 1.0)
        for axis, rungs in self.rungs.items():
            snapped[:, axis] = rungs.unit(rungs.nearest(snapped[:, axis]))
        return snapped

    def every_point(self) -> Array:
        """Return all points of a finite space, in the order of `Space.at`."""
        rest = np.arange(float(self.space.size or 0))
        points = np.empty((len(rest), self.dimension))
        for axis in reversed(range(self.dimension)):
            rest, number = np.divmod(rest, self.rungs[axis].count)
            points[:, axis] = self.rungs[axis].unit(number)
        return points

    def moved(self, points: Array, steps: Array, rng: np.random.Generator) -> Array:
        """Return the points moved by `steps` (m, d), where every step that is not 0 changes its coordinate.

        An int that would stay on its rung goes to the next one in the direction of the step; a choice takes
        any other value. Steps out of the cube end at its faces.
        """
        moved = np.clip(points + steps, 0.0, 1.0)
        for axis, rungs in self.rungs.items():
            step, old = steps[:, axis], rungs.nearest(points[:, axis])
            if self.choice[axis]:
                other = (old + 1 + rng.integers(0, max(rungs.count - 1, 1), len(old))) % rungs.count
                new = np.where(step != 0.0, other, old)
            else:
                new = rungs.nearest(moved[:, axis])
                new = np.clip(np.where(new == old, old + np.sign(step), new), 0, rungs.count - 1)
            moved[:, axis] = rungs.unit(new)
        return moved
