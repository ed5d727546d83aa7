"""The one place through which commands reach what is slow to import.

`from augury.cli import lazy`, then `lazy.Client(...)` inside the function that needs it: help and usage
errors never pay for HTTP, rich or the grammar. Type checkers see plain names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augury import acl as acl
    from augury import local as local
    from augury.cli import app as app
    from augury.cli import completing as completing
    from augury.cli import following as following
    from augury.cli import live as live
    from augury.cli import submitting as submitting
    from augury.cli import watching as watching
    from augury.client import outputs as outputs
    from augury.client.client import Client as Client
    from augury.client.run import LogReader as LogReader
    from augury.client.shipping import ship as ship
    from augury_sdk import cli as sdk_cli
    from augury_workers.protocol import new_secret_line as new_secret_line

_HOMES = {
    "Client": ("augury.client.client", "Client"),
    "LogReader": ("augury.client.run", "LogReader"),
    "acl": ("augury.acl", None),
    "app": ("augury.cli.app", None),
    "completing": ("augury.cli.completing", None),
    "following": ("augury.cli.following", None),
    "outputs": ("augury.client.outputs", None),
    "live": ("augury.cli.live", None),
    "local": ("augury.local", None),
    "new_secret_line": ("augury_workers.protocol", "new_secret_line"),
    "ship": ("augury.client.shipping", "ship"),
    "sdk_cli": ("augury_sdk.cli", None),
    "submitting": ("augury.cli.submitting", None),
    "watching": ("augury.cli.watching", None),
}

__all__ = [
    "Client",
    "LogReader",
    "acl",
    "app",
    "completing",
    "following",
    "live",
    "local",
    "new_secret_line",
    "outputs",
    "sdk_cli",
    "ship",
    "submitting",
    "watching",
]


def __getattr__(name: str) -> Any:
    """Import `name` now."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value: Any = import_module(module)
    return value if attribute is None else getattr(value, attribute)
