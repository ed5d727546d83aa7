"""A server that is shared: its state folder, its key, its first token, and what it tells its admin."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from augury import __version__
from augury.dispatch.health import is_loopback, without_password
from augury.errors import UsageError
from augury.private_file import write_private
from augury.server import settings
from augury.server.service import ADMIN, Service
from augury.server.settings import Settings
from augury_workers.protocol import new_secret_line

_ANY = ("0.0.0.0", "::")


def state_folder(given: Path | None) -> Path:
    """Return the folder of the server's files, made with mode 0700.

    Raises:
        UsageError: it cannot be made or written.
    """
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = (given or Path(base, "augury", "server")).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--state-dir: {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--state-dir: {folder} cannot be written by this user")
    return folder


def make_secret(state: Path) -> None:
    """Make the key file of a server that is not told of any."""
    path = settings.secret_file(state)
    if not os.environ.get("AUGURY_SECRET_FILE") and not path.exists():
        write_private(path, new_secret_line())


def make_first_token(service: Service) -> str | None:
    """Make the admin's token when its file is missing, and return it; None when it is there.

    Removing the file, and a restart, replaces a token that was lost.
    """
    path = token_file(service.settings)
    if path.exists():
        return None
    token = service.make_token(ADMIN)
    write_private(path, token + "\n")
    return token


def token_file(config: Settings) -> Path:
    """Return where the admin's token is kept."""
    return config.home / "token"


def public_url(config: Settings, given: str | None, port: int) -> str:
    """Return the URL by which others reach this server.

    Raises:
        UsageError: the one `given` is none.
    """
    if given is not None:
        if urlsplit(given).scheme not in ("http", "https") or not urlsplit(given).hostname:
            raise UsageError(f"--url '{given}' must be http://HOST or https://HOST")
        return given.rstrip("/")
    host = socket.gethostname() if config.host in _ANY else config.host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def names(config: Settings, url: str) -> set[str]:
    """Return the host names by which this server may be called."""
    own = {config.host, socket.gethostname(), socket.getfqdn(), urlsplit(url).hostname or ""}
    return {name.lower() for name in own if name}


def announce(config: Settings, url: str, first_token: str | None, notices: Sequence[str]) -> str:
    """Return what is printed once the server listens: what to paste on a worker and on a laptop.

    The broker's password and the first token are shown on a terminal only: other output lands in logs.
    """
    notices, broker, host = list(notices), config.redis_url, urlsplit(config.redis_url).hostname or ""
    if not sys.stdout.isatty() and without_password(broker) != broker:
        broker = without_password(broker)
        notices.append("the broker's password stands in place of … above")
    if urlsplit(config.redis_url).scheme == "unix" or is_loopback(host):
        notices.append("the broker answers on this machine only: workers elsewhere need one on the network")
    if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
        notices.append(
            "tokens travel unencrypted over http: on a network you do not trust, put a TLS proxy in front "
            "and give its address with --url"
        )
    key = settings.secret_file(config.home)
    # Other output than a terminal lands in logs.
    shown = first_token if sys.stdout.isatty() else None
    token = shown or f"$(cat {shlex.quote(str(token_file(config)))})"
    instance = "" if config.instance == "main" else f"AUGURY_INSTANCE={config.instance} "
    lines = [
        f"Augury {__version__} serves '{config.instance}' at {url}",
        "",
        f"On a worker, with the key file copied there (scp {socket.gethostname()}:{key} augury.secret):",
        f"  {instance}AUGURY_URL={url} AUGURY_REDIS_URL='{broker}' \\",
        "    AUGURY_SECRET_FILE=augury.secret augury worker",
        "",
        "On a laptop, as the admin:"
        if shown
        else "On this machine, as the admin (on a laptop with what that file holds):",
        f"  export AUGURY_URL={url} AUGURY_TOKEN={token}",
        "",
        "A token for each user: augury token create NAME",
        *(f"Notice: {notice}" for notice in notices),
    ]
    return "\n".join(lines)
