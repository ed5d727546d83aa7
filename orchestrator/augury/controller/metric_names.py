"""Why a search has no metric: the names that its runs did report, nearest first."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_GO_ON = "`augury hyper resume` lets a paused search go on all the same"


def explain_missing(metric: str, seen: Sequence[str], failed: Sequence[int]) -> str:
    """Return the sentence that tells why no run has the metric, and what to do.

    `seen` are the names that were reported, `failed` the ids of the runs that failed.
    """
    if not seen:
        missing = f"no run has reported the metric '{metric}', or any other"
        if failed:
            count = f"{len(failed)} runs" if len(failed) > 1 else "1 run"
            return f"{missing}, and {count} failed: see `augury logs {failed[0]}`"
        return f"{missing}: does the command send it? See `augury logs RUN`; {_GO_ON}"
    nearest = sorted(seen, key=lambda name: -difflib.SequenceMatcher(None, metric, name).ratio())
    shown = ", ".join(f"'{name}'" for name in nearest[:10])
    more = f" and {len(seen) - 10} more" if len(seen) > 10 else ""
    return (
        f"no run has reported the metric '{metric}'. They did report: {shown}{more}. "
        f"Start anew with the right name, or judge by another with --metric; {_GO_ON}"
    )
