"""What the final report of an attempt says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ending:
    """How an attempt ends; `saving` may still change it."""

    state: str
    code: int | None
    detail: str
    cause: str = ""
    """Where it is another one than that of the exit."""

    def add(self, detail: str) -> None:
        """Say more."""
        self.detail = "; ".join(part for part in (self.detail, detail) if part)
