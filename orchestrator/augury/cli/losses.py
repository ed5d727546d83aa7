"""Telling by its name that a metric is one to be small."""

from __future__ import annotations

import re

_SMALL_IS_GOOD = frozenset({
    "loss", "losses", "err", "errs", "error", "errors", "mse", "msle", "mae", "mape", "smape", "rmse",
    "rmsle", "rse", "perplexity", "ppl", "nll", "bce", "wer", "cer", "fid", "divergence", "kld", "regret",
    "latency", "bpb", "bpc",
})  # fmt: skip
_ENDINGS = ("loss", "error", "perplexity", "entropy", "rmse")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def looks_like_loss(metric: str) -> bool:
    """Whether the name of a metric says that small is good: `val_loss`, `test/RMSE`, `meanAbsError`."""
    words = [word.lower() for word in _WORD.findall(metric)]
    return any(word in _SMALL_IS_GOOD or word.endswith(_ENDINGS) for word in words)


def warning(metric: str | None, goal: str | None) -> str | None:
    """Return the notice about a maximised metric that looks like a loss, None when there is no cause."""
    if metric is None or goal == "minimize" or not looks_like_loss(metric):
        return None
    return (
        f"the metric '{metric}' looks like a loss and the highest is best; if small is good: --goal minimize"
    )
