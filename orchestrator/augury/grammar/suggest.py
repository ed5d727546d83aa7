"""Did you mean: the known word nearest to one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

SHORT = 3
"""Words shorter than this are near only when they differ by case, `-` or `_`."""
LONG = 6
"""From this length on two slips are forgiven, below it one."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the word of `known` that `word` is most likely a slip of, or None when none is near."""
    best: str | None = None
    best_distance = 3
    for candidate in known:
        distance = _distance(_plain(word), _plain(candidate))
        if distance <= _forgiven(word, candidate) and distance < best_distance:
            best, best_distance = candidate, distance
    return best


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'log'?`, or nothing when no known word is near."""
    near = nearest(word, known)
    return f"; did you mean '{near}'?" if near else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def _forgiven(one: str, other: str) -> int:
    length = min(len(one), len(other))
    if length < SHORT:
        return 0
    return 1 if length < LONG else 2


def _distance(one: str, other: str) -> int:
    """Count the insertions, deletions, replacements and swaps of neighbours from one word to the other."""
    if abs(len(one) - len(other)) > 2:
        return 3
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, left in enumerate(one, start=1):
        current = [row]
        for column, right in enumerate(other, start=1):
            cost = min(above[column] + 1, current[-1] + 1, above[column - 1] + (left != right))
            if row > 1 and column > 1 and left == other[column - 2] and one[row - 2] == right:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, above = above, current
    return above[-1]
