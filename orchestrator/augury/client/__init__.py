"""The door to an instance: low-level routes over HTTP, and the Python API in the old product's words.

Nothing heavy is imported until a name is used: `import augury` stays as cheap as the standard library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augury.client.client import Client
    from augury.client.hyper import HyperService
    from augury.client.run import LogEntry, Run
    from augury.client.runs import RunsService
    from augury.client.search import Search

__all__ = ["Client", "HyperService", "LogEntry", "Run", "RunsService", "Search"]

_HOMES = {
    "Client": "augury.client.client",
    "HyperService": "augury.client.hyper",
    "LogEntry": "augury.client.run",
    "Run": "augury.client.run",
    "RunsService": "augury.client.runs",
    "Search": "augury.client.search",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
