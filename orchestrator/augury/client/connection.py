"""Where the instance is: explicit address, environment, settings file, else the private local instance."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from augury.errors import UsageError
from augury.grammar.suggest import did_you_mean

#: What the settings file may hold, and the variable that wins over each of them. The first two are of users,
#: the others of servers and workers, which `cli.processes` tells them by these variables.
VARIABLES = {
    "url": "AUGURY_URL",
    "token": "AUGURY_TOKEN",
    "instance": "AUGURY_INSTANCE",
    "redis_url": "AUGURY_REDIS_URL",
    "database_url": "AUGURY_DATABASE_URL",
    "blob_url": "AUGURY_BLOB_URL",
    "secret_file": "AUGURY_SECRET_FILE",
}

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
    # An account that the machine does not know has no home: the path stays one that does not exist.
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path raises there
    return Path(environ.get("XDG_CONFIG_HOME") or f"{home}/.config") / "augury" / "config.toml"


def read_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings file as a dictionary, empty when there is none.

    Raises:
        UsageError: the file named by `AUGURY_CONFIG` is missing, or a file is not readable TOML, or it holds
            a key that is none of `VARIABLES`.
    """
    path = settings_path(environ)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if environ.get("AUGURY_CONFIG"):
            raise UsageError(f"AUGURY_CONFIG names {path}, which does not exist") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the settings file {path}: {error}") from None
    for key in settings:
        if key not in VARIABLES:
            raise UsageError(
                f"the settings file {path} has the unknown key '{key}'{did_you_mean(key, list(VARIABLES))} "
                f"(keys: {', '.join(VARIABLES)})"
            )
    return settings


def remote_address(environ: Mapping[str, str]) -> Address | None:
    """Return the instance that `AUGURY_URL` or the settings file points at; None means the local one.

    Raises:
        UsageError: the URL is no address of a server, or it comes without a token; the text names the place.
    """
    settings = read_settings(environ)
    url, url_name = _setting("url", environ, settings)
    if not url:
        return None
    _check_url(url, url_name)
    token, token_name = _setting("token", environ, settings)
    if not token:
        raise UsageError(f"{url_name} is set to {url} but AUGURY_TOKEN is not: every request carries a token")
    if not re.fullmatch("[!-~]+", token):
        raise UsageError(f"{token_name} holds characters that no token has: copy the token anew")
    return Address(url.rstrip("/"), token)


def _setting(key: str, environ: Mapping[str, str], settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return a setting, "" without one, and how its place is called; the environment wins."""
    variable = f"AUGURY_{key.upper()}"
    if given := environ.get(variable):
        return given, variable
    name = f"'{key}' in {settings_path(environ)}"
    value = settings.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r}, but must be a text in quotes")
    return value, name


def _check_url(url: str, name: str) -> None:
    """Raise `UsageError` unless `url` is the address of a server."""
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{name} '{url}' must start with http:// or https://")
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and parts.port != 0 and re.search(r"[\s\x00-\x1f\x7f?#]", url) is None
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(f"{name} '{url}' is no address: write it like https://host:8000")


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
