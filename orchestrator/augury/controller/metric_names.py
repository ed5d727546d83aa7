"""Why a search has no metric: the names that its runs did report, nearest first."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def explain_missing(metric: str, seen: Sequence[str]) -> str:
    """Return the sentence that tells why a search was paused, and what to do."""
    if not seen:
        return (
            f"no run has reported the metric '{metric}', or any other: does the command send it? "
            "See `augury logs RUN`; `augury hyper resume` goes on all the same"
        )
    nearest = sorted(seen, key=lambda name: -difflib.SequenceMatcher(None, metric, name).ratio())
    shown = ", ".join(f"'{name}'" for name in nearest[:10])
    more = f" and {len(seen) - 10} more" if len(seen) > 10 else ""
    return (
        f"no run has reported the metric '{metric}'. They did report: {shown}{more}. "
        "Start anew with the right name, or `augury hyper resume` goes on all the same"
    )
