"""What a worker is told by its environment and its command line, checked before anything starts."""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from augury_workers import platform, protocol
from augury_workers.link import parse_url
from augury_workers.secret import SecretFile, SettingError

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}(@[A-Za-z0-9._-]{1,128})?")


@dataclass(frozen=True, slots=True)
class Settings:
    """A checked worker configuration."""

    redis_url: str
    instance: str
    machine_type: str
    slots: int
    slots_chosen: bool
    name: str
    """As Celery and Flower show it: `k80@host`."""
    state_dir: str

    @property
    def queue(self) -> str:
        """The Celery queue of the machine type."""
        return protocol.queue_name(self.machine_type)

    @property
    def host(self) -> str:
        """The host's name as the worker tells it."""
        return self.name.partition("@")[2]

    def describe(self) -> str:
        """Return the line that is printed at start."""
        slots = f"{self.slots} slot{'s' if self.slots != 1 else ''}"
        if self.slots_chosen:
            why = "as --slots or AUGURY_SLOTS says"
        else:
            why = f"half of {platform.cores()} cores; change it with --slots or AUGURY_SLOTS"
        return f"augury worker {self.name}: {slots} on queue '{self.queue}' ({why})"


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read command line and environment.

    Raises:
        SettingError: a setting is missing or wrong; the text names it and the fix.
        SystemExit: wrong command line (2) or `--help` (0), as argparse does it.
    """
    arguments = _parser().parse_args(argv)
    url = environment.get("AUGURY_REDIS_URL", "")
    if not url:
        raise SettingError("AUGURY_REDIS_URL is not set: give the broker's URL, as in redis://host:6379/0")
    try:
        parse_url(url)
    except ValueError as error:
        raise SettingError(f"AUGURY_REDIS_URL: {error}") from error
    instance = environment.get("AUGURY_INSTANCE") or protocol.DEFAULT_INSTANCE
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", instance):
        raise SettingError(f"AUGURY_INSTANCE: '{instance}' may hold only letters, digits, '.', '_' and '-'")
    if instance != protocol.LOCAL_INSTANCE:
        _check_url(environment)
    _check_secret(environment)
    slots = arguments.slots or _slots_of(environment)
    host = socket.gethostname() or "localhost"
    queue = protocol.queue_name(arguments.machine_type)
    name = arguments.name or queue
    if not _NAME.fullmatch(name):
        raise SettingError(f"--name: '{name}' may hold only letters, digits, '.', '_' and '-'")
    return Settings(
        redis_url=url,
        instance=instance,
        machine_type=arguments.machine_type,
        slots=slots or max(1, platform.cores() // 2),
        slots_chosen=slots is not None,
        name=name if "@" in name else f"{name}@{host}",
        state_dir=str(Path(arguments.state_dir or default_state_dir(environment, host)).absolute()),
    )


def default_state_dir(environment: Mapping[str, str], host: str) -> str:
    """Return where a worker keeps its state; per host, as home folders are often shared between hosts."""
    base = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(base, "augury", host))


def _check_url(environment: Mapping[str, str]) -> None:
    url = environment.get("AUGURY_URL", "")
    if not url:
        raise SettingError(
            "AUGURY_URL is not set: code and outputs travel through the server; give its URL, "
            "as in http://server:8800"
        )
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise SettingError(f"AUGURY_URL: '{url}' is not of the form http://server:8800")


def _check_secret(environment: Mapping[str, str]) -> None:
    path = environment.get("AUGURY_SECRET_FILE", "")
    if not path:
        raise SettingError(
            "AUGURY_SECRET_FILE is not set: without the secret shared with the server this worker would "
            "execute anybody's commands; copy the server's file, mode 0600"
        )
    SecretFile(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m augury_workers",
        description="Start an Augury worker: it takes runs of one machine type and executes one per slot.",
        epilog="AUGURY_REDIS_URL, AUGURY_URL and AUGURY_SECRET_FILE must be set; AUGURY_INSTANCE names the "
        "instance (default main).",
    )
    parser.add_argument(
        "--machine-type",
        required=True,
        metavar="TYPE",
        type=_machine_type,
        help="machine type it serves, as K80",
    )
    parser.add_argument(
        "--slots", type=_slots, metavar="N", help="runs at the same time (default: half of the cores)"
    )
    parser.add_argument("--name", help="name in listings and in Flower (default: the machine type's queue)")
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        help="folder for what is not sent yet, on a disk of this host (default: below ~/.local/state/augury)",
    )
    return parser


def _slots_of(environment: Mapping[str, str]) -> int | None:
    text = environment.get("AUGURY_SLOTS", "")
    try:
        return _slots(text) if text else None
    except argparse.ArgumentTypeError as error:
        raise SettingError(f"AUGURY_SLOTS: {error}") from error


def _slots(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 1024")
    return int(text)


def _machine_type(text: str) -> str:
    if not text.strip() or len(text) > 64:
        raise argparse.ArgumentTypeError("give a name of 1 to 64 characters, as K80")
    return text
