"""`augury server | token | secret`: a server that many share, its users and its key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer

from augury.cli import lazy
from augury.cli.command import AuguryCommand, takes
from augury.cli.helping import AuguryGroup
from augury.cli.options import Output
from augury.cli.output import renderer
from augury.cli.processes import become, settled_environment
from augury.client.connection import remote_address
from augury.errors import UsageError
from augury.private_file import write_private

if TYPE_CHECKING:
    from augury.client.client import Client

CLUSTER = "Clusters"

token_app = Typer(
    name="token",
    cls=AuguryGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Users of a shared server.",
)
secret_app = Typer(
    name="secret",
    cls=AuguryGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The key that server and workers share.",
)

UserName = Annotated[str, Argument(metavar="NAME", help="Whom the token speaks for.", show_default=False)]


def register(app: Typer) -> None:
    """Add these commands to `augury`."""
    app.command(cls=AuguryCommand, rich_help_panel=CLUSTER)(server)
    app.add_typer(token_app, rich_help_panel=CLUSTER)
    app.add_typer(secret_app, rich_help_panel=CLUSTER)


@dataclass(kw_only=True)
class ServerOptions:
    """`server`."""

    listen: Annotated[
        str, Option("--listen", metavar="HOST:PORT", help="Where it answers.", show_default=False)
    ]
    url: Annotated[
        str | None, Option("--url", metavar="URL", help="How others reach it, where that is another address.")
    ] = None
    state_dir: Annotated[
        str | None,
        Option(
            "--state-dir",
            metavar="DIR",
            help="Folder of its key, logs and files; ~/.local/state/augury/server unless given.",
        ),
    ] = None
    insecure: Annotated[
        bool, Option("--insecure", help="Accept a broker on the network that has no password.")
    ] = False


@dataclass(kw_only=True)
class OneUser(Output):
    """`token create` and `token revoke`."""

    name: UserName


@dataclass(kw_only=True)
class SecretOptions(Output):
    """`secret new`."""

    file: Annotated[str, Argument(metavar="FILE", help="The file to write.", show_default=False)]


@takes(
    ServerOptions,
    """
    augury server --listen 0.0.0.0:8800
    """,
)
def server(options: ServerOptions) -> None:
    """Serve searches of many users, on a PostgreSQL database and a Redis or Valkey broker.

    It needs AUGURY_DATABASE_URL and AUGURY_REDIS_URL, and says what to paste on workers and laptops.
    """
    words = ["--listen", options.listen]
    if options.url is not None:
        words += ["--url", options.url]
    if options.state_dir is not None:
        words += ["--state-dir", options.state_dir]
    if options.insecure:
        words += ["--insecure"]
    become("augury.server", words, settled_environment())


@token_app.command("create", cls=AuguryCommand)
@takes(
    OneUser,
    """
    augury token create ada
    """,
)
def create_token(options: OneUser) -> None:
    """Make a token for a user, and print it: it is told this once. Only the admin can."""
    client = _shared()
    made = client.create_token(options.name)
    sentence = (
        f"On a laptop of {options.name}:\n"
        f"  export AUGURY_URL={client.address.url} AUGURY_TOKEN={made['token']}"
    )
    renderer(options).said(made, sentence, made["token"])


@token_app.command("list", cls=AuguryCommand)
@takes(
    Output,
    """
    augury token list
    """,
)
def list_tokens(options: Output) -> None:
    """List whom there are tokens for. Only the admin can."""
    renderer(options).tokens(_shared().tokens())


@token_app.command("revoke", cls=AuguryCommand)
@takes(
    OneUser,
    """
    augury token revoke ada
    """,
)
def revoke_token(options: OneUser) -> None:
    """Make a user's token worthless; what the user has started goes on. Only the admin can."""
    revoked = _shared().revoke_token(options.name)
    renderer(options).said(revoked, f"The token of {options.name} is worthless now.", options.name)


@secret_app.command("new", cls=AuguryCommand)
@takes(
    SecretOptions,
    """
    augury secret new augury.secret
    """,
)
def new_secret(options: SecretOptions) -> None:
    """Write a new key file, mode 0600, for AUGURY_SECRET_FILE of the server and all its workers."""
    path = Path(options.file)
    if path.exists():
        raise UsageError(f"{path} exists: every worker with that key would be locked out; name another file")
    try:
        write_private(path, lazy.new_secret_line())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    renderer(options).said({"file": str(path)}, f"Wrote {path}. Copy it to every worker, mode 0600.", path)


def _shared() -> Client:
    """Return the client of a shared server: the local instance has one user, and is not started for this.

    Raises:
        UsageError: no shared server is named.
    """
    if remote_address(os.environ) is None:
        raise UsageError(
            "no shared server is named: export AUGURY_URL and the admin's AUGURY_TOKEN "
            "(the server printed both; the token lies in its --state-dir as `token`)"
        )
    return lazy.Client()
