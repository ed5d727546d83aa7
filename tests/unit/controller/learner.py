"""What commands do and what an adaptive sampler suggests, both as functions of what they are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from augury_samplers import Observation, Space, Suggestion


@dataclass(frozen=True)
class Outcome:
    """How a command ends, by its values."""

    code: int
    points: Sequence[float]

    @property
    def state(self) -> str:
        return "complete" if self.code == 0 else "failed"

    @property
    def objective(self) -> float | None:
        last = self.points[-1] if self.points and self.code == 0 else math.nan
        return last if math.isfinite(last) else None


def outcome(seed: int, texts: Mapping[str, str], *, silent: bool) -> Outcome:
    """Return what the command with these values does, whenever and wherever it is executed."""
    dice = sum(ord(letter) * (i + 7) for i, letter in enumerate("/".join(texts.values()))) + seed
    code = 1 if dice % 7 == 0 else 0
    points = [float(dice % 13), float(dice % 11), math.nan if dice % 5 == 0 else float(dice % 101)]
    return Outcome(code, [] if silent or dice % 6 == 0 else points)


@dataclass
class Ask:
    """One call of the adaptive sampler."""

    index: int
    observations: list[tuple[str, float | None]]
    pending: list[str]
    memo: dict[str, Any] | None
    text: str | None


@dataclass
class Learner:
    """A cheap sampler whose every suggestion depends on all that it is told."""

    asks: dict[int, list[Ask]] = field(default_factory=dict)
    """By the seed of the search."""
    adaptive = True

    def size(self, space: Space) -> None:
        return None

    def suggest(
        self,
        space: Space,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Any]],
        seed: int,
        index: int,
        memo: dict[str, Any] | None,
    ) -> tuple[Suggestion | None, dict[str, Any] | None]:
        seen = [(str(one.values["x"]), one.objective) for one in observations]
        flying = [str(one["x"]) for one in pending]
        used = {text for text, _ in seen} | set(flying)
        [choice] = space.parameters
        free = [text for text in choice.values if text not in used]
        before = memo["trail"] if memo else seed
        trail = hash((before, index, len(free), *(hash(value or 0.5) for _, value in seen), len(flying)))
        text = free[trail % len(free)] if free else None
        self.asks.setdefault(seed, []).append(Ask(index, seen, flying, memo, text))
        if text is None:
            return None, memo
        return Suggestion({"x": text}, "model"), {"asked": index + 1, "trail": trail}
