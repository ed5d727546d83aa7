"""`augury flower`: a look at the Celery side of an instance."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Annotated

from typer import Option, Typer

from augury.cli import lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.instance import CLUSTER
from augury.cli.notices import progress
from augury.client.connection import read_settings, remote_address
from augury.errors import UsageError


def register(app: Typer) -> None:
    """Add this command to `augury`."""
    app.command(cls=AuguryCommand, rich_help_panel=CLUSTER)(flower)


@dataclass(kw_only=True)
class FlowerOptions:
    """`flower`."""

    address: Annotated[str, Option("--address", metavar="HOST", help="Where it listens.")] = "127.0.0.1"
    port: Annotated[
        int, Option("--port", metavar="N", help="Its port; 0 takes a free one.", min=0, max=65535)
    ] = 5555


@takes(
    FlowerOptions,
    """
    augury flower
    augury flower --port 8801
    """,
)
def flower(options: FlowerOptions) -> None:
    """Show workers, queues and runs as Celery sees them, in the browser.

    It looks at the cluster of AUGURY_REDIS_URL, else at the local instance, and changes nothing. The user is
    `augury`; the password is printed at start, unless AUGURY_FLOWER_PASSWORD sets it.
    """
    if importlib.util.find_spec("flower") is None:
        raise UsageError("Flower is not installed: pip install 'augury[flower]'")
    environment = os.environ | (_cluster() or _local_instance())
    words = [sys.executable, "-P", "-m", "augury.dispatch.flower"]
    words += ["--address", options.address, "--port", str(options.port)]
    os.execve(words[0], words, environment)


def _cluster() -> dict[str, str]:
    """Return what environment and settings file say of a cluster; nothing when they name no broker."""
    settings = read_settings(os.environ)
    found = {
        variable: os.environ.get(variable) or str(settings.get(name) or "")
        for name, variable in (("redis_url", "AUGURY_REDIS_URL"), ("instance", "AUGURY_INSTANCE"))
    }
    return found if found["AUGURY_REDIS_URL"] else {}


def _local_instance() -> dict[str, str]:
    """Return the settings of the local instance, after seeing to it that it is there."""
    if remote := remote_address(os.environ):
        raise UsageError(
            f"commands go to {remote.url}: set AUGURY_REDIS_URL to the broker of that cluster, "
            "for Flower looks at the broker"
        )
    lazy.local.up(notify=progress)
    return {
        "AUGURY_REDIS_URL": lazy.local.broker_url(lazy.local.locate().socket()),
        "AUGURY_INSTANCE": "local",
    }
