"""The graphics cards of a host, and which of them a worker takes: decisions over what `nvml` has read.

by default     one slot per card that is visible (`CUDA_VISIBLE_DEVICES`) and free
machine type   from the name of the card, unless `AUGURY_GPU_TYPES` or the command line says another
a run          sees exactly the card of its slot, by UUID
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from augury_workers import protocol
from augury_workers.secret import SettingError

FOREIGN_BYTES = 500 * 1024 * 1024
"""A card of which somebody else holds more memory than this is left alone."""

CPU = "CPU"
"""Machine type of a worker without cards."""

HIDDEN = ""
"""The card of a slot whose runs are to see none."""

_VENDORS = {"nvidia", "tesla", "geforce", "quadro", "amd", "instinct", "radeon", "graphics", "gpu"}
_FORM = re.compile(
    r"\d+GB|PCIE|SXM\d*|HBM\d\w*|NVL|OAM|GENERATION|EDITION|WORKSTATION|SERVER|\([A-Z]+\)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds memory of a card."""

    pid: int
    user: str
    command: str
    memory: int
    """Bytes."""

    def __str__(self) -> str:
        of = f" of {self.user}" if self.user else ""
        return f"{self.command or 'a process'}{of} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card, or a part of one that NVIDIA's MIG made."""

    index: int
    """As `nvidia-smi` counts; parts of one card share it."""
    uuid: str
    name: str
    memory: int
    """Bytes."""
    used: int
    """Bytes in use by anybody."""
    foreign: int = 0
    """Bytes in use by processes that are no runs of ours."""
    holders: tuple[Holder, ...] = ()
    """Processes behind `foreign`, the largest first; empty where they cannot be seen from here."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a worker takes."""

    machine_type: str
    cards: tuple[Gpu, ...]
    hides: bool
    """Runs must see no card: there are some, for others."""
    notes: tuple[str, ...]
    """Sentences about cards that are not taken."""


def machine_type(name: str, overrides: Mapping[str, str] | None = None) -> str:
    """Return the machine type of a card: `NVIDIA A100-SXM4-80GB` -> `A100`, a MIG part -> `A100-1g.5gb`.

    `overrides` maps names, with `*` and `?` as wildcards, to types; the first that fits wins.
    """
    for pattern, chosen in (overrides or {}).items():
        if fnmatchcase(name, pattern):
            return chosen
    whole, _, part = name.partition(" MIG ")
    words = [word for word in re.split(r"[\s-]+", whole) if word]
    kept = [word for word in words if word.lower() not in _VENDORS and not _FORM.fullmatch(word)]
    found = re.sub(r"[^A-Za-z0-9.]", "", "".join(kept)) or "GPU"
    return f"{found}-{part.strip()}" if part.strip() else found


def parse_overrides(text: str) -> dict[str, str]:
    """Read `AUGURY_GPU_TYPES`: `NAME=TYPE[,NAME=TYPE]...`.

    Raises:
        SettingError: a piece is no such pair.
    """
    found = {}
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, chosen = (part.strip() for part in piece.rpartition("="))
        if not (equals and name and 1 <= len(chosen) <= 64):
            raise SettingError(
                f"AUGURY_GPU_TYPES: '{piece}' is not NAME=TYPE, as in 'NVIDIA A100 80GB*=A100-80G'"
            )
        found[name] = chosen
    return found


def visible(cards: Sequence[Gpu], variable: str | None) -> list[Gpu]:
    """Return the cards that `CUDA_VISIBLE_DEVICES` leaves, in its order; None: it is not set.

    Numbers count as `nvidia-smi` does. As in CUDA, what follows a wrong entry is not visible.
    """
    if variable is None or variable.strip() == "all":
        return list(cards)
    found: list[Gpu] = []
    for word in (word.strip() for word in variable.split(",")):
        if word.isdecimal():
            fitting = [card for card in cards if card.index == int(word)]
        elif word.startswith(("GPU-", "MIG-")):
            fitting = [card for card in cards if card.uuid.startswith(word)]
        else:
            break
        if not fitting:
            break
        found += [card for card in fitting if card not in found]
    return found


def choose(
    cards: Sequence[Gpu],
    wanted: str | None,
    overrides: Mapping[str, str],
    take: Callable[[Gpu], bool],
    most: int | None = None,
) -> Choice:
    """Return what a worker takes of the visible `cards`.

    `wanted` is the machine type it was told to serve, if any: where cards of that type are here, only they
    are taken. `take` locks a card for this worker and says whether that was possible; no more than `most`
    are taken.

    Raises:
        SettingError: no card is left. Only the local instance, whose type is `local`, then does without.
    """
    kind = machine_type_of(cards, wanted, overrides)
    if not cards:
        return Choice(wanted or CPU, (), False, ())
    queue = protocol.queue_name(kind)
    if queue == protocol.queue_name(CPU):
        return Choice(kind, (), True, ())
    types = {card.uuid: machine_type(card.name, overrides) for card in cards}
    same = [card for card in cards if protocol.queue_name(types[card.uuid]) == queue] or list(cards)
    notes = [note for card in same if (note := _held(card))]
    free = [card for card in same if card.foreign <= FOREIGN_BYTES]
    taken: list[Gpu] = []
    for card in free:
        if len(taken) == most:
            break
        if take(card):
            taken.append(card)
        else:
            notes.append(f"GPU {card.index} is left out: another worker on this host serves it")
    notes += _others([card for card in cards if card not in same], types)
    if not taken and queue != protocol.LOCAL_INSTANCE:
        # Runs that were promised a card must not come to a slot without one.
        raise SettingError(
            f"no card is free: {'; '.join(notes)}. Free one, or start a worker without cards: "
            "augury worker -t CPU"
        )
    return Choice(kind, tuple(taken), not taken, tuple(notes))


def machine_type_of(cards: Sequence[Gpu], wanted: str | None, overrides: Mapping[str, str]) -> str:
    """Return the type a worker serves: as told, else that of most cards (the first at a tie), else `CPU`."""
    if wanted is not None:
        return wanted
    counted = Counter(machine_type(card.name, overrides) for card in cards)
    return counted.most_common(1)[0][0] if counted else CPU


def _held(card: Gpu) -> str:
    if card.foreign <= FOREIGN_BYTES:
        return ""
    by = " and ".join(str(holder) for holder in card.holders[:3]) or "processes that cannot be seen from here"
    return f"GPU {card.index} is left out: {by} holds {card.foreign / 2**20:.0f} MiB of its memory"


def _others(cards: Sequence[Gpu], types: Mapping[str, str]) -> list[str]:
    """Return a sentence for each type of cards that another worker would have to serve."""
    found = []
    for kind, count in Counter(types[card.uuid] for card in cards).items():
        numbers = ", ".join(str(card.index) for card in cards if types[card.uuid] == kind)
        found.append(
            f"a worker serves one machine type: for {count} x {kind} (GPU {numbers}) "
            f"start another, augury worker -t {kind}"
        )
    return found
