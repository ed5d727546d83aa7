"""Random numbers without a state: each is a hash of what it is for.

A draw depends on the seed and its labels only, never on how many draws came before it nor on the machine,
so any run of a search can be drawn again alone.
"""

from __future__ import annotations

import hashlib


def bits(seed: int, *labels: int | str) -> int:
    """Return 64 random bits for these labels.

    SHA-256 of the ASCII form of the tuple, which tells all tuples of ints and strings apart.
    """
    text = ascii((seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big")


def uniform(seed: int, *labels: int | str) -> float:
    """Return a random number in [0, 1), a multiple of 2^-53, for these labels."""
    return (bits(seed, *labels) >> 11) * 2.0**-53
