"""A scrambled Sobol sequence: points that cover the unit cube more evenly than random ones.

Sources: I. M. Sobol (1967); the direction numbers are those of S. Joe and F. Y. Kuo, "Constructing Sobol
sequences with better two-dimensional projections", SIAM J. Sci. Comput. 30 (2008), dimensions 1 to 21. The
scrambling is A. B. Owen's nested uniform one (1995): each bit is flipped by a coin that depends on the bits
before it, which keeps the evenness and makes every point uniform.
"""

from __future__ import annotations

from functools import lru_cache

from augury_samplers.draws import bits, uniform

BITS = 32
"""Bits of a coordinate; the sequence has 2^32 points and then begins again."""

# Dimensions 2 to 21: the inner coefficients of a primitive polynomial as bits, and the first numbers m_i.
# The degree of the polynomial is the count of the m_i. (Dimension 1 has all m_i = 1.)
_JOE_KUO: tuple[tuple[int, tuple[int, ...]], ...] = (
    (0, (1,)),
    (1, (1, 3)),
    (1, (1, 3, 1)),
    (2, (1, 1, 1)),
    (1, (1, 1, 3, 3)),
    (4, (1, 3, 5, 13)),
    (2, (1, 1, 5, 5, 17)),
    (4, (1, 1, 5, 5, 5)),
    (7, (1, 1, 7, 11, 19)),
    (11, (1, 1, 5, 1, 1)),
    (13, (1, 1, 1, 3, 11)),
    (14, (1, 3, 5, 5, 31)),
    (1, (1, 3, 3, 9, 7, 49)),
    (13, (1, 1, 1, 15, 21, 21)),
    (16, (1, 3, 1, 13, 27, 49)),
    (19, (1, 1, 1, 15, 7, 5)),
    (22, (1, 3, 1, 15, 13, 25)),
    (25, (1, 1, 5, 5, 19, 61)),
    (1, (1, 3, 7, 11, 23, 15, 103)),
    (4, (1, 3, 7, 13, 13, 15, 69)),
)

MAX_DIMENSION = len(_JOE_KUO) + 1
"""Coordinates beyond these are independent uniform draws."""


def scrambled(seed: int, index: int, dimension: int) -> list[float]:
    """Return point number `index` (from 0) of the sequence of `seed`: `dimension` numbers in [0, 1)."""
    even = [_scramble(seed, axis, raw(index, axis)) for axis in range(min(dimension, MAX_DIMENSION))]
    return even + [uniform(seed, "sobol", index, axis) for axis in range(MAX_DIMENSION, dimension)]


def raw(index: int, axis: int) -> int:
    """Return coordinate `axis` (from 0) of the unscrambled point `index`, in units of 2^-BITS."""
    coordinate = 0
    for position, direction in enumerate(_directions(axis)):
        if index >> position & 1:
            coordinate ^= direction
    return coordinate


def _scramble(seed: int, axis: int, coordinate: int) -> float:
    flips = 0
    for position in range(BITS):
        # The flips of one level are a function of the bits above it: the empty prefix first.
        prefix = coordinate >> (BITS - position)
        flips = flips << 1 | bits(seed, "sobol", axis, position, prefix) >> 63
    return ((coordinate ^ flips) + 0.5) * 2.0**-BITS


@lru_cache(maxsize=MAX_DIMENSION)
def _directions(axis: int) -> tuple[int, ...]:
    """Return the BITS direction numbers v_k = m_k 2^(BITS-k) of a dimension (Joe and Kuo, equation 3)."""
    if axis == 0:
        return tuple(1 << (BITS - k) for k in range(1, BITS + 1))
    coefficients, start = _JOE_KUO[axis - 1]
    degree = len(start)
    m = list(start)
    for k in range(degree, BITS):
        number = m[k - degree] ^ m[k - degree] << degree
        for i in range(1, degree):
            if coefficients >> (degree - 1 - i) & 1:
                number ^= m[k - i] << i
        m.append(number)
    return tuple(number << (BITS - k) for k, number in enumerate(m, start=1))
