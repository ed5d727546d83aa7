"""Files that runs have left, copied to this machine and never to any place but the one asked for."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augury.errors import NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from augury.client.routes import Routes


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a run has left: its path below the run's output folder, and its size in bytes."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Copy:
    """One file to be copied, and to where."""

    source: OutputFile
    target: Path


def below(files: Sequence[OutputFile], path: str) -> list[OutputFile]:
    """Return the file at `path`, or those below the folder `path`; all when it is empty."""
    return [one for one in files if not path or one.path == path or one.path.startswith(f"{path}/")]


def plan(run_id: int, files: Sequence[OutputFile], path: str, dest: str, *, force: bool) -> list[Copy]:
    """Return what copying `path` (a file, a folder, or "" for all) to `dest` writes; as `cp -r` would.

    Raises:
        NotFoundError: there is nothing at `path`.
        RefusedError: a name would lead out of `dest`, or (without `force`) a file exists.
        UsageError: `dest` cannot take it.
    """
    chosen = below(files, path)
    if not chosen:
        what = f"no file or folder '{path}'" if path else "left no files"
        raise NotFoundError(f"run {run_id} has {what}: see `augury ls runs/{run_id}`")
    root = Path(dest)
    if not root.is_dir() and not root.parent.is_dir():
        raise UsageError(f"there is no folder {root.parent}: make it first, or name another place")
    if root.is_dir() or dest.endswith("/"):
        root /= _parts(run_id, path)[-1] if path else str(run_id)
    copies = [Copy(one, _target(run_id, root, path, one.path)) for one in chosen]
    _check_targets(copies, force)
    return copies


def _target(run_id: int, root: Path, path: str, name: str) -> Path:
    if path and name == path:
        return root
    rest = name[len(path) + 1 :] if path else name
    return root.joinpath(*_parts(run_id, rest))


def _parts(run_id: int, name: str) -> list[str]:
    """Split a name that the server gives; one that is no plain path below a folder is refused."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise RefusedError(
            f"run {run_id} has a file named {name!r}, which would be written outside the folder asked for: "
            "nothing was copied"
        )
    return parts


def _check_targets(copies: Sequence[Copy], force: bool) -> None:
    if len({copy.target for copy in copies}) < len(copies):
        raise RefusedError("two of the files have the same name: nothing was copied")
    taken = [copy.target for copy in copies if copy.target.is_symlink() or copy.target.exists()]
    folders = [target for target in taken if target.is_dir() and not target.is_symlink()]
    if folders:
        raise UsageError(f"{folders[0]} is a folder: a file of that name cannot be written there")
    if taken and not force:
        exist = f" and {len(taken) - 1:,} more exist" if len(taken) > 1 else " exists"
        raise UsageError(f"{taken[0]}{exist}: use --force to overwrite")


def copy_all(
    client: Routes, run_id: int, copies: Sequence[Copy], dest: Path, progress: Callable[[int], None]
) -> None:
    """Copy the files, each whole or not at all; `progress` gets the bytes written so far.

    Raises:
        RefusedError: a link below `dest` leads out of it.
        UsageError: a folder or file cannot be written.
    """
    inside = (dest if dest.is_dir() else dest.parent).resolve()
    done = 0
    for copy in copies:
        try:
            copy.target.parent.mkdir(parents=True, exist_ok=True)
            if not copy.target.parent.resolve().is_relative_to(inside):
                raise RefusedError(f"{copy.target.parent} leads out of {inside} by a link: not written")
            with _written_whole(copy.target) as write:
                for piece in client.output(run_id, copy.source.path):
                    write(piece)
                    done += len(piece)
                    progress(done)
        except OSError as error:
            raise UsageError(f"cannot write {copy.target}: {error.strerror or error}") from None


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Open a file that takes its name only when the block has ended well."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            yield file.write
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
