"""Names of parameters, and the environment variables that carry their values into a run."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
NAME_RULE = "a name is a letter or '_', then letters, digits, '_' or '-', at most 64 in all"
VARIABLE_PREFIX = "AUGURY_PARAM_"


def is_name(text: str) -> bool:
    """Return whether `text` can name a parameter."""
    return NAME.fullmatch(text) is not None


def variable_of(name: str) -> str:
    """Return the environment variable of a parameter: `conv3-filters` -> `AUGURY_PARAM_CONV3_FILTERS`."""
    return VARIABLE_PREFIX + name.upper().replace("-", "_")
