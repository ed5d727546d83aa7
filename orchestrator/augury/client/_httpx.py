"""The one place that imports httpx, without the command line httpx carries along.

`import httpx` also imports its own command line when click and rich happen to be installed, which more
than doubles the time it takes. A `None` in `sys.modules` makes that one import fail the way httpx expects.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

_COMMAND_LINE = "httpx._main"

if "httpx" in sys.modules:
    import httpx
else:
    _modules = cast("dict[str, ModuleType | None]", sys.modules)
    _modules[_COMMAND_LINE] = None
    try:
        import httpx
    finally:
        del _modules[_COMMAND_LINE]

__all__ = ["httpx"]
