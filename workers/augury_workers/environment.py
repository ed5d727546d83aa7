# ruff: noqa: PTH110, PTH112, PTH116, PTH118, PTH123
# Paths are plain strings here, as the system calls take them.
"""The environment and the command of a training, made from an order. Pure but for the look at paths."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping
from typing import Any

from augury_workers.spool import Identity

_OURS = ("AUGURY_", "CELERY", "C_FORCE_ROOT", "FORKED_BY_MULTIPROCESSING", "_MP_")
"""Prefixes of what the worker's own environment does not hand on: settings, secrets, marks of Celery."""

_OF_A_RUN = (
    "AUGURY_RUN_ID",
    "AUGURY_SEARCH_ID",
    "AUGURY_ATTEMPT",
    "AUGURY_METRICS",
    "AUGURY_OUTPUT_DIR",
    "AUGURY_PARAMS",
    "AUGURY_TAG",
)


class CouldNotStartError(Exception):
    """The training cannot be started; the text is one sentence for the user that names what is missing."""

    state = "failed"
    """How its run ends."""


def scrub(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the worker's own environment without what a training must not see."""
    return {name: value for name, value in environment.items() if not name.startswith(_OURS)}


class SubmitterEnvironments:
    """Reads the files in which the local instance keeps the environments of submitting shells.

    A file is named by its content and never changes: the last one is remembered.
    """

    def __init__(self) -> None:
        self._path: str | None = None
        self._environment: dict[str, str] = {}

    def read(self, path: str) -> dict[str, str]:
        """Return the environment in the file.

        Raises:
            CouldNotStartError: it is missing, unreadable or not what it should be.
        """
        if path != self._path:
            try:
                with open(path, encoding="utf-8") as file:
                    body = json.load(file)
                self._environment = {str(name): str(value) for name, value in body.items()}
            except (OSError, ValueError, AttributeError) as error:
                raise CouldNotStartError(
                    f"the environment this run was submitted with cannot be read from {path}: {error}"
                ) from error
            self._path = path
        return self._environment


def build(
    order: Mapping[str, Any],
    base: Mapping[str, str],
    identity: Identity,
    folder: str,
    python_folder: str | None,
    gpu: str | None = None,
) -> dict[str, str]:
    """Return the whole environment of the training.

    `base` is the submitter's or the worker's scrubbed one; what an outer run put there does not leak in.
    `gpu` is the UUID of the only card that it sees, whatever the submitter's shell says; empty: none.
    """
    environment = {
        name: value
        for name, value in base.items()
        if not (name.startswith("AUGURY_") and (name in _OF_A_RUN or name.startswith("AUGURY_PARAM_")))
    }
    environment.update(order["env"].get("set") or {})
    environment.update(order.get("param_env") or {})
    environment["AUGURY_RUN_ID"] = str(identity.run)
    environment.pop("AUGURY_SEARCH_ID", None)
    if order.get("search") is not None:
        environment["AUGURY_SEARCH_ID"] = str(order["search"])
    environment["AUGURY_ATTEMPT"] = str(order["attempt"])
    environment["AUGURY_METRICS"] = f"{folder}/metrics.jsonl"
    environment["AUGURY_OUTPUT_DIR"] = f"{folder}/output"
    params = order.get("params") or {}
    environment["AUGURY_PARAMS"] = json.dumps({name: param["value"] for name, param in params.items()})
    environment["AUGURY_TAG"] = identity.tag(str(order["instance"]))
    environment["PYTHONUNBUFFERED"] = "1"
    if gpu is not None:
        environment |= {"CUDA_VISIBLE_DEVICES": gpu, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if python_folder is not None:
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{before}{os.pathsep}{python_folder}" if before else python_folder
    return environment


def command(order: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Return the argv to execute; a shell line goes to bash, or to sh where there is none."""
    shell = order.get("shell")
    if shell is None:
        return [str(word) for word in order["argv"]]
    bash = shutil.which("bash", path=environment.get("PATH", os.defpath))
    return [bash or "/bin/sh", "-c", str(shell)]


def check(cwd: str, environment: Mapping[str, str]) -> None:
    """Look for what a start would miss.

    Raises:
        CouldNotStartError: the working directory or the virtual environment is gone.
    """
    if not os.path.isdir(cwd):
        raise CouldNotStartError(f"the working directory {cwd} does not exist on this machine")
    if not os.access(cwd, os.X_OK):
        raise CouldNotStartError(f"the worker may not enter the working directory {cwd}")
    virtual = environment.get("VIRTUAL_ENV")
    if virtual and not os.path.isdir(virtual):
        raise CouldNotStartError(
            f"the virtual environment {virtual} that was active when this run was submitted does not exist"
        )


def explain(error: OSError, words: list[str], cwd: str, environment: Mapping[str, str]) -> str:
    """Say in one sentence why `words` could not be executed."""
    name = words[0]
    if "/" in name:
        path: str | None = os.path.join(cwd, name)
    else:
        path = shutil.which(name, path=environment.get("PATH", os.defpath))
    if path is None:
        return f"the command '{name}' was not found in the PATH of this run"
    if not os.path.exists(path):
        return f"the command {path} does not exist on this machine"
    if os.path.isdir(path):
        return f"the command {path} is a directory"
    if not os.stat(path).st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH):
        return f"the command {path} is not executable: chmod +x it, or name its interpreter in front of it"
    if isinstance(error, FileNotFoundError):
        return f"the interpreter named in the first line of {path} does not exist"
    if error.errno == 8:  # ENOEXEC
        return f"{path} is no program: let its first line name an interpreter, as #!/usr/bin/env python3"
    return f"the command {path} could not be executed: {error.strerror or error}"
