"""The one folder that a worker puts at the end of PYTHONPATH: `augury_sdk` and `spell`, nothing else.

A worker calls `layout(state_dir / folder_name())`. The name changes with the content, so a run that was
started before an upgrade keeps the files it began with. Not part of that folder, as trainings do not need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_SHIM = os.path.join(_PACKAGE, "spell_shim", "spell")
_TOP = ("augury_sdk", "spell")


def folder_name() -> str:
    """Return a name for the folder that changes whenever a file in it does, like `sdk-3f2a9c0d11e8`."""
    digest = hashlib.sha256()
    for path, content in sorted(_files().items()):
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return f"sdk-{digest.hexdigest()[:12]}"


def layout(target_dir: str | os.PathLike[str]) -> None:
    """Make the folder hold exactly the packages `augury_sdk` and `spell`, whatever was missing or damaged.

    A new folder appears whole or not at all; in an existing one single files are replaced. Calls may be
    repeated and may run in several processes at once.

    Raises:
        FileExistsError: the folder holds something else; it is left alone.
        OSError: the folder cannot be made or written.
    """
    target = os.path.abspath(target_dir)
    wanted = _files()
    if os.path.isdir(target):
        _refuse_strangers(target)
        if _found(target) == wanted:
            return
    parent = os.path.dirname(target)
    os.makedirs(parent, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix=".sdk-", dir=parent)
    try:
        _write(fresh, wanted)
        try:
            os.rename(fresh, target)
        except OSError:
            # It exists and is not empty: made by another process a moment ago, or in need of repair.
            _refuse_strangers(target)
            _repair(fresh, target, wanted)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _files() -> dict[str, bytes]:
    """Return the content of each file by its path in the folder."""
    names = set(_sources(_PACKAGE)) - {"_layout.py"}
    files = {f"augury_sdk/{name}": _read(_PACKAGE, name) for name in names}
    files.update({f"spell/{name}": _read(_SHIM, name) for name in _sources(_SHIM)})
    return files


def _found(target: str) -> dict[str, bytes]:
    files = {}
    for top in _TOP:
        folder = os.path.join(target, top)
        for name in _sources(folder) if os.path.isdir(folder) else []:
            with contextlib.suppress(FileNotFoundError):  # removed by another process's repair
                files[f"{top}/{name}"] = _read(folder, name)
    return files


def _sources(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".py") or name == "py.typed"]


def _read(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def _write(folder: str, files: dict[str, bytes]) -> None:
    os.chmod(folder, 0o755)
    for path, content in files.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content)


def _repair(fresh: str, target: str, wanted: dict[str, bytes]) -> None:
    found = _found(target)
    for path, content in wanted.items():
        if found.get(path) != content:
            full = os.path.join(target, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            os.replace(os.path.join(fresh, path), full)
    for path in found.keys() - wanted.keys():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(target, path))


def _refuse_strangers(target: str) -> None:
    for name in sorted(os.listdir(target)):
        if name not in (*_TOP, "__pycache__") and not name.startswith("."):
            raise FileExistsError(f"{target} must hold only {' and '.join(_TOP)}, but there is also {name}")
