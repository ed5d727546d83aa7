"""From a command to the server or the worker itself: other modules, in this same process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from augury.client.connection import read_settings

#: Settings of servers and workers, which know environment variables only, by their names in the TOML file.
VARIABLES = {
    "url": "AUGURY_URL",
    "instance": "AUGURY_INSTANCE",
    "redis_url": "AUGURY_REDIS_URL",
    "database_url": "AUGURY_DATABASE_URL",
    "blob_url": "AUGURY_BLOB_URL",
    "secret_file": "AUGURY_SECRET_FILE",
}


def become(module: str, words: Sequence[str]) -> NoReturn:
    """Replace this process by `python -m module words`, with what the settings file says in its environment.

    A variable that is set wins over the file.

    Raises:
        UsageError: the settings file cannot be read.
    """
    environment = dict(os.environ)
    for name, value in read_settings(os.environ).items():
        if name in VARIABLES:
            environment.setdefault(VARIABLES[name], str(value))
    os.execve(sys.executable, [sys.executable, "-m", module, *words], environment)
