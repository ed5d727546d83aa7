"""Times and metric values as they stand in documents, read back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def when(text: str | None) -> datetime | None:
    """Return the UTC datetime of an ISO 8601 text; None stays None."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def moment(time: Any) -> datetime:
    """Return the UTC datetime of a point's time, an ISO 8601 text or seconds since 1970."""
    if isinstance(time, int | float):
        return datetime.fromtimestamp(time, UTC)
    return datetime.fromisoformat(str(time)).astimezone(UTC)


def number(value: Any) -> float:
    """Return a metric value as a number; `"NaN"`, `"Infinity"` and `"-Infinity"` are read as floats."""
    return float(value) if isinstance(value, str) else value
