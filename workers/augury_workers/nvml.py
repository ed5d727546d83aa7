"""Reads the NVIDIA cards of this host through the driver's library, and locks those that a worker takes.

`AUGURY_NVML=/path/to/file.py` names a module to use in place of `pynvml`: tests fake cards with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from augury_workers import platform
from augury_workers.gpus import FOREIGN_BYTES, Gpu, Holder

LIBRARY = "libnvidia-ml.so.1"

LOCK_SECONDS = 2.0
"""How long the processes of an earlier worker, killed just now, may still hold a card."""

SETTLE_LOOKS = 3
"""How often, once a second, it is looked again whose memory it is."""

Describe = Callable[[int], tuple[str, str, bool]]
"""From a pid to the user's name, the command's name, and whether it belongs to a run of ours."""


def load(environment: Mapping[str, str]) -> Any | None:
    """Return the module that speaks to the driver; None where there is no driver.

    Costs a tenth of a second of import only where the driver's library is.
    """
    fake = environment.get("AUGURY_NVML")
    if fake:
        spec = importlib.util.spec_from_file_location("augury_fake_nvml", fake)
        if spec is None or spec.loader is None:
            raise OSError(f"AUGURY_NVML: {fake} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    import pynvml  # lazy: only where there are cards

    return pynvml


def look(environment: Mapping[str, str], instance: str) -> tuple[list[Gpu], list[str]]:
    """Return the cards of this host and sentences about those that do not answer.

    Looks again for a while at memory that no process is known for: of a run that was killed just now the
    process goes first.
    """
    driver = load(environment)
    if driver is None:
        return [], []
    cards, notes = detect(driver, describer(instance))
    for _ in range(SETTLE_LOOKS):
        held = (card for card in cards if card.foreign > FOREIGN_BYTES)
        if not any(all(not holder.command for holder in card.holders) for card in held):
            break
        time.sleep(1.0)
        cards, notes = detect(driver, describer(instance))
    return cards, notes


def detect(driver: Any, describe: Describe) -> tuple[list[Gpu], list[str]]:
    """Return all cards in the order of `nvidia-smi`, and sentences about those that do not answer."""
    found: list[Gpu] = []
    notes: list[str] = []
    try:
        driver.nvmlInit()
    except driver.NVMLError as error:
        return found, [f"the NVIDIA driver does not answer: {error}"]
    try:
        for index in range(driver.nvmlDeviceGetCount()):
            try:
                for handle in _handles(driver, driver.nvmlDeviceGetHandleByIndex(index)):
                    found.append(_card(driver, index, handle, describe))
            except driver.NVMLError as error:
                notes.append(f"GPU {index} is left out: it does not answer ({error})")
    except driver.NVMLError as error:
        notes.append(f"the NVIDIA driver does not answer: {error}")
    finally:
        with contextlib.suppress(driver.NVMLError):
            driver.nvmlShutdown()
    return found, notes


def describer(instance: str) -> Describe:
    """Return what tells of processes on this host; runs of `instance` are ours."""

    def describe(pid: int) -> tuple[str, str, bool]:
        import psutil  # lazy: only where a card is in use

        try:
            process = psutil.Process(pid)
            command, user = process.name(), process.username()
        except psutil.Error:
            return "", "", False
        try:
            tag = process.environ().get(platform.TAG_VARIABLE, "")
        except psutil.Error:
            tag = ""
        return user, command, tag.startswith(f"{instance}/")

    return describe


class Locks:
    """Locks cards against the other workers of this user, for this process and the pool children it forks."""

    def __init__(self) -> None:
        self._end: float | None = None

    def take(self, card: Gpu) -> bool:
        """Lock a card; False when another worker has it. Waits `LOCK_SECONDS`, for all cards together."""
        folder = Path(tempfile.gettempdir(), f"augury-{os.getuid()}-cards")
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            name = re.sub(r"[^A-Za-z0-9-]", "_", card.uuid)
            file = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return True  # no place for locks: what holds memory is still seen
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True  # the file stays open, and locked, as long as the process lives
            except BlockingIOError:
                self._end = self._end or time.monotonic() + LOCK_SECONDS
                if time.monotonic() > self._end:
                    os.close(file)
                    return False
                time.sleep(0.05)


def _handles(driver: Any, handle: Any) -> Iterator[Any]:
    """Yield the parts of a card that MIG has divided, else the card."""
    try:
        divided = driver.nvmlDeviceGetMigMode(handle)[0] == 1
    except (driver.NVMLError, AttributeError):  # an older card, driver or binding
        divided = False
    if not divided:
        yield handle
        return
    for number in range(driver.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with contextlib.suppress(driver.NVMLError):
            yield driver.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)


def _card(driver: Any, index: int, handle: Any, describe: Describe) -> Gpu:
    memory = driver.nvmlDeviceGetMemoryInfo(handle)
    # What the driver reserves for itself is nobody's; only the newer call tells it apart.
    with contextlib.suppress(driver.NVMLError, AttributeError, TypeError):
        memory = driver.nvmlDeviceGetMemoryInfo(handle, version=driver.nvmlMemory_v2)
    foreign, holders = _foreign(driver, handle, int(memory.used), describe)
    return Gpu(
        index,
        _text(driver.nvmlDeviceGetUUID(handle)),
        _text(driver.nvmlDeviceGetName(handle)),
        int(memory.total),
        int(memory.used),
        foreign,
        holders,
    )


def _foreign(driver: Any, handle: Any, used: int, describe: Describe) -> tuple[int, tuple[Holder, ...]]:
    """Return how much of the memory belongs to others, and the computing processes behind it.

    What no process is known for counts as well: its holder may be in another container. The memory of a
    desktop (processes that only draw) does not.
    """
    computing = _processes(driver, "nvmlDeviceGetComputeRunningProcesses", handle)
    drawing = _processes(driver, "nvmlDeviceGetGraphicsRunningProcesses", handle)
    known = sum({**drawing, **computing}.values())
    nobody = max(0, used - known)
    holders, foreign, ours = [], 0, False
    for pid, memory in computing.items():
        user, command, own = describe(pid)
        ours = ours or own
        if not own:
            holders.append(Holder(pid, user, command, memory))
            foreign += memory
    if not ours:
        foreign += nobody
    holders.sort(key=lambda holder: -holder.memory)
    return foreign, tuple(holders)


def _processes(driver: Any, name: str, handle: Any) -> dict[int, int]:
    """Return the bytes of each process; 0 where the driver does not tell."""
    try:
        found = getattr(driver, name)(handle)
    except (driver.NVMLError, AttributeError):
        return {}
    return {int(process.pid): int(process.usedGpuMemory or 0) for process in found}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
