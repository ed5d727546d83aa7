"""From a command to the server or the worker itself: other modules, in this same process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from augury.client.connection import VARIABLES, read_settings


def settled_environment() -> dict[str, str]:
    """Return this environment, with what the settings file says where a variable is not set.

    A user's token stays where it is: neither servers nor workers need one.

    Raises:
        UsageError: the settings file cannot be read.
    """
    environment = dict(os.environ)
    for name, value in read_settings(os.environ).items():
        if name != "token":
            environment.setdefault(VARIABLES[name], str(value))
    return environment


def become(module: str, words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by `python -P -m module words`.

    With -P no `redis.py` of the current folder stands in for ours.
    """
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *words], environment)
