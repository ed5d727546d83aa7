"""Five K80 cards and a T4 that do not exist: a worker reads them with AUGURY_NVML=<this file>.

Somebody else, the first process of the system, holds memory of the fifth.
"""

from __future__ import annotations

import os
import zlib
from types import SimpleNamespace

NAMES = ["Tesla K80"] * 5 + ["Tesla T4"]
HELD, HOLDER, HELD_BYTES = 4, 1, 900 * 2**20

# No two workers of one machine serve the same card: each test has cards of its own.
_OWN = zlib.crc32(os.environ.get("AUGURY_REDIS_URL", "").encode())


class NVMLError(Exception):
    """What the driver raises."""


def nvmlInit() -> None:
    """Open the driver."""


def nvmlShutdown() -> None:
    """Close the driver."""


def nvmlDeviceGetCount() -> int:
    """Return the number of cards."""
    return len(NAMES)


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    """Return what stands for a card."""
    return index


def nvmlDeviceGetMigMode(handle: int) -> list[int]:
    """Refuse: these cards are too old to be divided."""
    raise NVMLError("Not Supported")


def nvmlDeviceGetUUID(handle: int) -> str:
    """Return the name of a card that no other has."""
    return f"GPU-{_OWN:08x}-{handle}"


def nvmlDeviceGetName(handle: int) -> str:
    """Return the name of a card."""
    return NAMES[handle]


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:
    """Return the bytes of memory that there are and that are in use."""
    return SimpleNamespace(total=12 * 2**30, used=HELD_BYTES if handle == HELD else 0)


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[SimpleNamespace]:
    """Return who computes on a card."""
    return [SimpleNamespace(pid=HOLDER, usedGpuMemory=HELD_BYTES)] if handle == HELD else []
