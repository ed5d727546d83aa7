# ruff: noqa: PTH123, PTH208
# Paths are plain strings here, as the system calls take them.
"""What differs between operating systems: the only module of the worker that asks where it runs.

Linux: a child subreaper keeps orphans below us, `/proc` lists them, CLOCK_BOOTTIME counts suspended time.
Elsewhere (or with `AUGURY_PORTABLE=1`, as CI runs it): psutil, process groups and the tag in the environment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

TAG_VARIABLE = "AUGURY_TAG"

LINUX = sys.platform == "linux" and not os.environ.get("AUGURY_PORTABLE")

_PR_SET_CHILD_SUBREAPER = 36
_HAS_CHILDREN = LINUX and Path("/proc/thread-self/children").exists()


def boottime() -> float:
    """Return seconds of a clock that nobody sets and that counts while the host sleeps (Linux)."""
    if LINUX:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def become_subreaper() -> bool:
    """Make orphaned descendants children of this process; False where the system cannot do that."""
    if not LINUX:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def descendants(tag: str | None = None) -> list[int]:
    """Return the pids of all living processes below this one, parents before children.

    Where orphans leave the tree, processes of this user whose environment has `AUGURY_TAG=tag` are added.
    Zombies are left out.
    """
    if LINUX:
        return list(_proc_descendants(os.getpid()))
    found = _psutil_descendants()
    if tag is not None:
        found += [pid for pid in tagged({tag}) if pid not in found]
    return found


def tagged(tags: Collection[str]) -> list[int]:
    """Return the pids of this user's processes whose environment has `AUGURY_TAG` among `tags`."""
    environments = _proc_environments() if LINUX else _psutil_environments()
    return [pid for pid, tag in environments if tag in tags and pid != os.getpid()]


def kill_tagged(tags: Collection[str], sleep: Callable[[float], None] = time.sleep) -> int:
    """Kill every process with one of `tags` and everything below them; return how many were killed.

    Gives up on a process that cannot be killed within 10 s (it hangs in the kernel).
    """
    killed: set[int] = set()
    for round_number in range(200):
        found = tagged(tags)
        below = [pid for root in found for pid in _below(root)]
        if not found:
            break
        for pid in [*found, *below]:
            if signal_process(pid, signal.SIGKILL):
                killed.add(pid)
        sleep(min(0.005 * (round_number + 1), 0.05))
    return len(killed)


def signal_process(pid: int, number: int) -> bool:
    """Send a signal; False when the process is gone or belongs to somebody else."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def oom_kills() -> int:
    """Return how often the kernel killed a process for memory, in our cgroup or else on the host."""
    if not LINUX:
        return 0
    for path in (_cgroup_events(), "/proc/vmstat"):
        try:
            text = Path(path).read_text() if path else ""
        except OSError:
            continue
        for line in text.splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def cores() -> int:
    """Return how many cores this process may use."""
    if LINUX:
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- Linux -----------------------------------------------------------------------------------------


def _proc_descendants(root: int) -> Iterator[int]:
    for child in _proc_children(root) if _HAS_CHILDREN else _scan_children(root):
        if not _is_zombie(child):
            yield child
        yield from _proc_descendants(child)


def _proc_children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def _scan_children(pid: int) -> list[int]:
    """Return the children by the parent noted in every process: for kernels without `children` files."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid:
            found.append(int(name))
    return found


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] == [b"Z"]
    except OSError:
        return True


def _proc_environments() -> Iterator[tuple[int, str]]:
    prefix = TAG_VARIABLE.encode() + b"="
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                content = file.read()
        except OSError:
            continue
        for item in content.split(b"\0"):
            if item.startswith(prefix):
                yield int(name), os.fsdecode(item[len(prefix) :])


def _cgroup_events() -> str | None:
    try:
        line = Path("/proc/self/cgroup").read_text().splitlines()[-1]
    except (OSError, IndexError):
        return None
    hierarchy, _, path = line.split(":", 2)
    return f"/sys/fs/cgroup{path}/memory.events" if hierarchy == "0" else None


# --- elsewhere -------------------------------------------------------------------------------------


def _psutil_descendants(root: int | None = None) -> list[int]:
    import psutil  # lazy: 40 ms that Linux never needs

    try:
        children = psutil.Process(root).children(recursive=True)
        return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.Error:
        return []


def _psutil_environments() -> Iterator[tuple[int, str]]:
    import psutil  # lazy, as above

    for process in psutil.process_iter():
        try:
            tag = process.environ().get(TAG_VARIABLE)
        except (psutil.Error, OSError):
            continue
        if tag is not None:
            yield process.pid, tag


def _below(root: int) -> list[int]:
    return list(_proc_descendants(root)) if LINUX else _psutil_descendants(root)
