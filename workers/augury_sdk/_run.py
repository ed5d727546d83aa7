"""What a process can know of the run it belongs to."""

from __future__ import annotations

import json
import os
from typing import Any

from augury_sdk._notice import hint_outside, warn_once

PARAMS_VARIABLE = "AUGURY_PARAMS"
RUN_VARIABLE = "AUGURY_RUN_ID"


def run_id() -> int | None:
    """Return the id of the run that this process belongs to, None outside a run."""
    try:
        return int(os.environ[RUN_VARIABLE])
    except (KeyError, ValueError):
        return None


def params() -> dict[str, Any]:
    """Return the values of this run by parameter name: int, float, bool or str. Empty outside a run."""
    text = os.environ.get(PARAMS_VARIABLE)
    if text is None:
        hint_outside()
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        warn_once("params", f"{PARAMS_VARIABLE} is not a JSON object: params() is empty")
        return {}
    return values
