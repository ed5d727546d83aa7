"""Where the instance is: explicit address, environment, settings file, else the private local instance."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from augury.errors import UsageError

#: Gets one line for people.
Notify: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a server and the token that opens it; `local` when it is this user's own instance."""

    url: str
    token: str
    local: bool = False


def settings_path(environ: Mapping[str, str]) -> Path:
    """Return the TOML file of a user's settings: `AUGURY_CONFIG`, else `augury/config.toml` of XDG."""
    if explicit := environ.get("AUGURY_CONFIG"):
        return Path(explicit)
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "augury" / "config.toml"


def read_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings file as a dictionary, empty when there is none.

    Raises:
        UsageError: the file named by `AUGURY_CONFIG` is missing, or a file is not readable TOML.
    """
    path = settings_path(environ)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if environ.get("AUGURY_CONFIG"):
            raise UsageError(f"AUGURY_CONFIG names {path}, which does not exist") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the settings file {path}: {error}") from None


def remote_address(environ: Mapping[str, str]) -> Address | None:
    """Return the instance that `AUGURY_URL` or the settings file points at; None means the local one.

    Raises:
        UsageError: the URL is not http(s), or it comes without a token.
    """
    settings = read_settings(environ)
    url = environ.get("AUGURY_URL") or str(settings.get("url") or "")
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"AUGURY_URL '{url}' must start with http:// or https://")
    token = environ.get("AUGURY_TOKEN") or str(settings.get("token") or "")
    if not token:
        raise UsageError(f"AUGURY_URL is set to {url} but AUGURY_TOKEN is not: every request carries a token")
    return Address(url.rstrip("/"), token)


def local_address(verify: bool = False, notify: Notify | None = None, start: bool = True) -> Address:
    """Return the address of the local instance, starting it first when there is none (and `start`).

    `verify` asks it whether it answers; `notify` gets one line for people when the start takes long.

    Raises:
        UnavailableError: it does not come up, or is not there and not to be started.
        RefusedError: it is of another version and busy.
    """
    # Found only here: a client of a remote instance needs none of the local machinery.
    from augury import local

    endpoint = local.connect(start=start, verify=verify, notify=notify)
    return Address(endpoint.url.rstrip("/"), endpoint.token, local=True)


def find_address(verify: bool = False, notify: Notify | None = None, start: bool = True) -> Address:
    """Return the instance this user works with (see `remote_address`, `local_address`)."""
    return remote_address(os.environ) or local_address(verify, notify, start)
