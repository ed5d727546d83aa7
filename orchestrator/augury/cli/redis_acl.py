"""`augury redis-acl`: users of the broker with no more rights than their role needs."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from typing import Annotated

from typer import Option, Typer

from augury.cli import lazy
from augury.cli.cluster import CLUSTER
from augury.cli.command import AuguryCommand, takes
from augury.cli.options import Output
from augury.cli.output import renderer
from augury.errors import UsageError


def register(app: Typer) -> None:
    """Add this command to `augury`."""
    app.command("redis-acl", cls=AuguryCommand, rich_help_panel=CLUSTER)(redis_acl)


@dataclass(kw_only=True)
class AclOptions(Output):
    """`redis-acl`."""

    instance: Annotated[
        str, Option("--instance", metavar="NAME", help="As AUGURY_INSTANCE of server and workers.")
    ] = "main"
    machine_type: Annotated[
        list[str] | None,
        Option(
            "-t",
            "--machine-type",
            metavar="TYPE",
            help="Let workers reach the queues of these types only; repeatable.",
        ),
    ] = None


@takes(
    AclOptions,
    """
    augury redis-acl -t K80 -t T4
    augury redis-acl -q | redis-cli -u redis://:PASSWORD@host:6379/0
    """,
)
def redis_acl(options: AclOptions) -> None:
    """Print users for a Redis 7 or Valkey broker: one for the server, the workers and Flower each.

    Each time with new passwords. Host and database of the URLs are those of AUGURY_REDIS_URL, if it is set.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", options.instance):
        raise UsageError(f"--instance '{options.instance}' may hold only letters, digits, '.', '_' and '-'")
    url = os.environ.get("AUGURY_REDIS_URL") or "redis://HOST:6379/0"
    if url.startswith("unix:"):
        raise UsageError("AUGURY_REDIS_URL is a socket of this machine, where file modes say who may connect")
    users = lazy.acl.users(options.instance, options.machine_type or (), url)
    rules = "\n".join(user.rule for user in users)
    urls = "\n".join(f"AUGURY_REDIS_URL='{user.url}'   # {user.role}" for user in users)
    text = f"""\
# For redis-cli, or without the two first words as lines `user …` of an ACL file:
{rules}

# In the place of the broker's password:
{urls}

# Keep them: ACL SAVE, or CONFIG REWRITE where there is no ACL file.
# Once all have moved, and an admin has a user too: ACL SETUSER default off"""
    renderer(options).said({"users": [asdict(user) for user in users]}, text, rules)
