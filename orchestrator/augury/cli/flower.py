"""`augury flower`: a look at the Celery side of an instance."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Annotated

from typer import Option, Typer

from augury.cli import lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.instance import CLUSTER
from augury.cli.notices import progress
from augury.cli.processes import become, settled_environment
from augury.client.connection import remote_address
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
    environment = settled_environment()
    if not environment.get("AUGURY_REDIS_URL"):
        environment |= _local_instance()
    words = ["--address", options.address, "--port", str(options.port)]
    become("augury.dispatch.flower", words, environment)


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
