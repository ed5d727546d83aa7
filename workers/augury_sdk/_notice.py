"""What the SDK tells a person: once each, and never as an exception."""

from __future__ import annotations

import sys
import warnings

NOTICES_LIMIT = 1000
"""Notices of one process; beyond it the SDK is silent."""

HINT = (
    "augury: not inside a run, so metrics are dropped and params() is empty; "
    "start this script with 'augury run' or 'augury hyper' to record them"
)

_given: dict[object, object] = {}


class MetricWarning(UserWarning):
    """A metric point, or a part of it, was dropped; the training goes on."""


def warn_once(key: object, text: str, stacklevel: int = 3) -> None:
    """Warn with `text` unless `key` has been warned about; `stacklevel` as in `warnings.warn`."""
    if not _first(key):
        return
    try:
        warnings.warn("augury: " + text, MetricWarning, stacklevel)
    except Exception:  # python -W error, a closed stderr, or somebody's own showwarning
        _say("augury: " + text)


def hint_outside() -> None:
    """Say once on stderr that this process is not inside a run."""
    if _first("outside"):
        _say(HINT)


def _first(key: object) -> bool:
    # setdefault is one step under threads, and needs no lock that a fork could copy while it is held.
    mark = object()
    return len(_given) < NOTICES_LIMIT and _given.setdefault(key, mark) is mark


def _say(text: str) -> None:
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text + "\n")
    except (OSError, ValueError):
        pass
