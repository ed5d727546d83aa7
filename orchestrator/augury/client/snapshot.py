# ruff: noqa: PTH110, PTH111, PTH112, PTH113, PTH114, PTH116, PTH118, PTH123
# Paths are plain strings here, as git and the system calls give them; thousands of them.
"""A snapshot of the working tree: the files a search is submitted with, packed so that they can travel.

In a git work tree these are the tracked files as they are now and the untracked ones that git does not
ignore, submodules and repositories inside included; elsewhere the folder and what is below. What
`.auguryignore` at the top names (see `client.ignoring`) is left out. The same files give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from augury.client.ignoring import FILE, Ignored
from augury.errors import UsageError
from augury.spec import MAX_SNAPSHOT_BYTES

MAX_FILES = 90_000
"""A worker refuses 100,000 entries; long names count twice."""

HOME_FILES, HOME_BYTES = 1000, 10_000_000
"""What a home folder may hold to be sent as a whole: it is rarely meant."""

_NEVER = frozenset({".git", "__pycache__"})
_OF_GIT = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})
_IN_MEMORY = 16 * 1024 * 1024
_SHOWN = 5
_LEVEL = 1
"""Of compression: the fastest; a higher one costs several times the time for a tenth of the bytes."""


@dataclass
class Snapshot:
    """A packed tree."""

    file: IO[bytes]
    """Its bytes, from the beginning."""
    digest: str
    size: int
    """Packed, in bytes."""
    cwd: str
    """Where a run starts, relative to the top."""
    files: int
    notices: Sequence[str]


@dataclass
class _Found:
    """What is to be packed: names relative to `top`, each with the path of the file that has its content."""

    top: str
    files: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    size: int = 0


def pack(directory: str) -> Snapshot:
    """Pack the working tree that `directory` lies in.

    Raises:
        UsageError: it is too large, a file cannot be read, or git does not answer; the text says what to do.
    """
    if not os.path.isdir(directory):
        raise UsageError(
            f"the code in {directory} cannot be sent: there is no such folder here. If it is one of the "
            "workers' machines, use --no-snapshot (snapshot=False in Python)"
        )
    directory = os.path.realpath(directory)
    top = _git_top(directory)
    found = _Found(top if top is not None else directory)
    ignored = Ignored.read(found.top)
    limit = _limits(found.top) if top is None else (MAX_FILES, MAX_SNAPSHOT_BYTES)
    names = _folder_names(found.top, ignored) if top is None else _git_names(found, "")
    sizes: dict[str, int] = {}
    for name in names:
        if not ignored.hides(name):
            _take(found, name, sizes)
            if found.size > limit[1] or len(found.files) > limit[0]:
                _check_home(found.top, top is None)
    _check(found, sizes)
    cwd = os.path.relpath(directory, found.top)
    return _packed(found, "" if cwd == "." else cwd)


def _take(found: _Found, name: str, sizes: dict[str, int]) -> None:
    path = os.path.join(found.top, name)
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return  # deleted, but not from git's list yet
    except OSError as error:
        raise _unreadable(name, error) from error
    if stat.S_ISLNK(status.st_mode):
        target = os.path.realpath(path)
        inside = target.startswith(found.top.rstrip("/") + "/")
        if not (inside and os.path.isfile(target)):
            found.links.append(name)
            return
        path, status = target, os.stat(target)
    if stat.S_ISREG(status.st_mode) and name not in found.files:
        found.files[name] = path
        found.size += status.st_size
        sizes[name] = status.st_size


def _check(found: _Found, sizes: dict[str, int]) -> None:
    if len(found.files) > MAX_FILES:
        raise UsageError(
            f"{found.top} has more than {MAX_FILES:,} files to send: name what no run needs in {FILE}"
        )
    if found.size > MAX_SNAPSHOT_BYTES:
        largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:_SHOWN]
        named = ", ".join(f"{_shown(name)} ({sizes[name] / 1e6:,.1f} MB)" for name in largest)
        raise UsageError(
            f"the code in {found.top} has {found.size / 1e6:,.0f} MB, more than the "
            f"{MAX_SNAPSHOT_BYTES / 1e6:,.0f} MB that travel to the workers. Largest: {named}. "
            f"Name what no run needs in {Path(found.top, FILE)}, one pattern a line as in .gitignore"
        )


def _limits(top: str) -> tuple[int, int]:
    """Return how many files and bytes are looked at before the folder is judged."""
    if top == "/":
        raise UsageError("the code of a search is the current folder, here /: change to the code's own")
    if _is_home(top):
        return HOME_FILES, HOME_BYTES
    return MAX_FILES, MAX_SNAPSHOT_BYTES * 100


def _check_home(top: str, bare: bool) -> None:
    if bare and _is_home(top):
        raise UsageError(
            f"the code of a search is the current folder, and that is your home {top} with more than "
            f"{HOME_FILES:,} files or {HOME_BYTES / 1e6:.0f} MB: change to the code's own folder"
        )


def _is_home(top: str) -> bool:
    return top == os.path.realpath(os.path.expanduser("~"))


# --- what there is ---------------------------------------------------------------------------------


def _git_top(directory: str) -> str | None:
    """Return the top of the work tree that `directory` lies in; None outside git."""
    answer = _git(directory, "rev-parse", "--is-inside-work-tree", "--show-toplevel")
    if answer is None:
        return None
    if answer.returncode == 0:
        inside, _, top = os.fsdecode(answer.stdout).partition("\n")
        return os.path.realpath(top.rstrip("\n")) if inside == "true" else None
    if any((folder / ".git").exists() for folder in (Path(directory), *Path(directory).parents)):
        said = answer.stderr.decode(errors="replace").strip()
        raise UsageError(f"git does not say which files belong to the code: {said}")
    return None


def _git(directory: str, *words: str) -> subprocess.CompletedProcess[bytes] | None:
    # A hook or an alias of git says there which repository it is about.
    environment = {name: value for name, value in os.environ.items() if name not in _OF_GIT}
    command = ["git", "-C", directory, *words]
    try:
        return subprocess.run(command, capture_output=True, check=False, env=environment)
    except FileNotFoundError:
        return None  # no git on this machine


def _git_names(found: _Found, inside: str) -> Iterator[str]:
    """Yield the files of a work tree and of the repositories in it, relative to the top."""
    words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    answer = _git(os.path.join(found.top, inside), *words)
    if answer is None or answer.returncode != 0:
        said = answer.stderr.decode(errors="replace").strip() if answer is not None else "it is not there"
        raise UsageError(f"git does not list the files of {os.path.join(found.top, inside)}: {said}")
    for raw in answer.stdout.split(b"\0")[:-1]:
        name = os.path.join(inside, os.fsdecode(raw)).rstrip("/")
        path = os.path.join(found.top, name)
        if not os.path.isdir(path) or os.path.islink(path):
            yield name
        elif os.path.exists(os.path.join(path, ".git")):
            yield from _git_names(found, name)
        elif not raw.endswith(b"/"):
            found.absent.append(name)  # a submodule that is not checked out


def _folder_names(top: str, ignored: Ignored) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise _unreadable(os.path.relpath(error.filename, top), error)

    for folder, folders, files in os.walk(top, onerror=refuse):
        base = os.path.relpath(folder, top)
        base = "" if base == "." else base
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        kept = [name for name in folders if name not in _NEVER and name not in linked]
        folders[:] = [name for name in kept if not ignored.hides(os.path.join(base, name), folder=True)]
        yield from (os.path.join(base, name) for name in (*files, *linked))


# --- packing ---------------------------------------------------------------------------------------


class _Hashed:
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _packed(found: _Found, cwd: str) -> Snapshot:
    into = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller reads it
    hashed = _Hashed(into)
    with gzip.GzipFile("", "wb", _LEVEL, hashed, mtime=0) as packed:
        if cwd and not any(name.startswith(f"{cwd}/") for name in found.files):
            packed.write(_header(cwd, tarfile.DIRTYPE, 0, 0o755))
        for name in sorted(found.files, key=os.fsencode):
            packed.write(_entry(name, found.files[name]))
        packed.write(b"\0" * 1024)
    size = into.tell()
    into.seek(0)
    return Snapshot(into, hashed.digest.hexdigest(), size, cwd, len(found.files), _notices(found))


def _entry(name: str, path: str) -> bytes:
    """Return a file as a tar holds it; of its mode only the executable bit travels."""
    try:
        with open(path, "rb") as file:
            mode = 0o755 if os.fstat(file.fileno()).st_mode & 0o100 else 0o644
            content = file.read(MAX_SNAPSHOT_BYTES + 1)
    except OSError as error:
        raise _unreadable(name, error) from error
    header = _header(name, tarfile.REGTYPE, len(content), mode)
    return b"".join((header, content, b"\0" * (-len(content) % 512)))


def _header(name: str, kind: bytes, size: int, mode: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, size, mode
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _notices(found: _Found) -> list[str]:
    notices = []
    if found.links:
        what = "a link that leads" if len(found.links) == 1 else f"{len(found.links)} links that lead"
        notices.append(f"the snapshot leaves out {what} to no file inside it: {_listed(found.links)}")
    if found.absent:
        notices.append(f"the snapshot lacks submodules that are not checked out: {_listed(found.absent)}")
    return notices


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(_shown(name) for name in names[:_SHOWN]) + more


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _unreadable(name: str, error: OSError) -> UsageError:
    return UsageError(
        f"{_shown(name)} cannot be read for the snapshot: {error.strerror}. "
        f"If no run needs it, name it in {FILE}"
    )
