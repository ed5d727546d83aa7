"""What a worker is told by its environment and its command line, checked before anything starts."""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from augury_workers import gpus, nvml, platform, protocol
from augury_workers.gpus import Gpu
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
    secret_file: str
    """Absolute: the supervisors of the slots have other working directories."""
    idle_seconds: float | None = None
    """A worker without any run for so long ends; None: never."""
    cards: tuple[Gpu, ...] = ()
    """Those that the slots are pinned to."""
    hides_cards: bool = False
    """Runs see no card although there are some."""
    notes: tuple[str, ...] = ()
    """Sentences about cards that are left out."""

    @property
    def pins(self) -> tuple[str, ...]:
        """What each slot's runs see as their only card; empty where nothing is pinned."""
        if self.hides_cards:
            return (gpus.HIDDEN,) * self.slots
        return tuple(self.cards[i % len(self.cards)].uuid for i in range(self.slots)) if self.cards else ()

    @property
    def queue(self) -> str:
        """The Celery queue of the machine type."""
        return protocol.queue_name(self.machine_type)

    @property
    def host(self) -> str:
        """The host's name as the worker tells it."""
        return self.name.partition("@")[2]

    def describe(self) -> str:
        """Return the lines that are printed at start."""
        slots = f"{self.slots} slot{'s' if self.slots != 1 else ''}"
        first = f"augury worker {self.name}: {slots} on queue '{self.queue}' ({self._why()})"
        return "\n".join([first, *(f"augury worker {self.name}: {note}" for note in self.notes)])

    def _why(self) -> str:
        numbers = ", ".join(str(card.index) for card in self.cards)
        if self.slots_chosen:
            why = "as --slots or AUGURY_SLOTS says"
            if self.slots > len(self.cards) > 0:
                return f"{why}; they share GPU {numbers}: not one each"
            return f"{why}; one per card: GPU {numbers}" if self.cards else why
        if self.cards:
            return (
                f"one per card: GPU {numbers}; change it with --slots, AUGURY_SLOTS or CUDA_VISIBLE_DEVICES"
            )
        return f"half of {platform.cores()} cores; change it with --slots or AUGURY_SLOTS"


@dataclass(frozen=True, slots=True)
class Host:
    """How a worker learns of the cards of its host, and locks those that it takes."""

    look: Callable[[Mapping[str, str], str], tuple[list[Gpu], list[str]]] = nvml.look
    """From environment and instance to the cards and sentences about those that do not answer."""
    take: Callable[[Gpu], bool] = field(default_factory=lambda: nvml.Locks().take)


def parse(argv: Sequence[str], environment: Mapping[str, str], host: Host | None = None) -> Settings:
    """Read command line and environment, and choose among the cards of the host.

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
    secret_file = _checked_secret(environment)
    slots = arguments.slots or _slots_of(environment)
    choice, notes = _choose(arguments.machine_type, slots, environment, instance, host or Host())
    hostname = socket.gethostname() or "localhost"
    name = arguments.name or protocol.queue_name(choice.machine_type)
    if not _NAME.fullmatch(name):
        raise SettingError(f"--name: '{name}' may hold only letters, digits, '.', '_' and '-'")
    return Settings(
        redis_url=url,
        instance=instance,
        machine_type=choice.machine_type,
        slots=slots or len(choice.cards) or max(1, platform.cores() // 2),
        slots_chosen=slots is not None,
        name=name if "@" in name else f"{name}@{hostname}",
        state_dir=str(Path(arguments.state_dir or default_state_dir(environment, hostname)).absolute()),
        cards=choice.cards,
        hides_cards=choice.hides,
        notes=notes,
        secret_file=secret_file,
        idle_seconds=None if arguments.idle_timeout is None else arguments.idle_timeout * 60,
    )


def _choose(
    wanted: str | None, slots: int | None, environment: Mapping[str, str], instance: str, host: Host
) -> tuple[gpus.Choice, tuple[str, ...]]:
    overrides = gpus.parse_overrides(environment.get("AUGURY_GPU_TYPES", ""))
    try:
        cards, silent = host.look(environment, instance)
    except OSError as error:
        raise SettingError(str(error)) from error
    cards = gpus.visible(cards, environment.get("CUDA_VISIBLE_DEVICES"))
    choice = gpus.choose(cards, wanted, overrides, host.take, slots)
    return choice, (*silent, *choice.notes)


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


def _checked_secret(environment: Mapping[str, str]) -> str:
    path = environment.get("AUGURY_SECRET_FILE", "")
    if not path:
        raise SettingError(
            "AUGURY_SECRET_FILE is not set: without the secret shared with the server this worker would "
            "execute anybody's commands; copy the server's file, mode 0600"
        )
    SecretFile(path)
    return str(Path(path).absolute())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m augury_workers",
        description="Start an Augury worker: it takes runs of one machine type and executes one per slot.",
        epilog="AUGURY_REDIS_URL, AUGURY_URL and AUGURY_SECRET_FILE must be set; AUGURY_INSTANCE names the "
        "instance (default main).",
    )
    parser.add_argument(
        "--machine-type",
        metavar="TYPE",
        type=_machine_type,
        help="machine type it serves, as K80 (default: that of the host's cards, CPU without any)",
    )
    parser.add_argument(
        "--slots",
        type=_slots,
        metavar="N",
        help="runs at the same time (default: one per card, half of the cores without any)",
    )
    parser.add_argument("--name", help="name in listings and in Flower (default: the machine type's queue)")
    parser.add_argument(
        "--idle-timeout",
        type=_minutes,
        metavar="MIN",
        help="end after so many minutes without a run (default: never)",
    )
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


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes <= 60 * 24 * 365:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of minutes above 0")
    return minutes


def _machine_type(text: str) -> str:
    if not text.strip() or len(text) > 64:
        raise argparse.ArgumentTypeError("give a name of 1 to 64 characters, as K80")
    return text
