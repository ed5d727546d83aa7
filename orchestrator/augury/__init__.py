"""Augury: hyperparameter searches over any command, on your own machines.

The public Python API; each name is imported on first use, so `import augury` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augury.client.client import Client
    from augury.client.run import Run
    from augury.client.search import Search
    from augury.errors import (
        AuguryError,
        NotFoundError,
        RefusedError,
        UnauthorizedError,
        UnavailableError,
        UsageError,
        WaitError,
    )
    from augury.spec import RangeSpec, SearchSpec, ValueSpec

    __version__: str

__all__ = [
    "AuguryError",
    "Client",
    "NotFoundError",
    "RangeSpec",
    "RefusedError",
    "Run",
    "Search",
    "SearchSpec",
    "UnauthorizedError",
    "UnavailableError",
    "UsageError",
    "ValueSpec",
    "WaitError",
    "__version__",
]

_HOMES = {
    "Client": "augury.client.client",
    "Run": "augury.client.run",
    "Search": "augury.client.search",
    "RangeSpec": "augury.spec",
    "SearchSpec": "augury.spec",
    "ValueSpec": "augury.spec",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    value: Any
    if name == "__version__":
        value = import_module("importlib.metadata").version("augury")
    elif name in __all__:
        value = getattr(import_module(_HOMES.get(name, "augury.errors")), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
