"""Other Pythons of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def interpreter(version: str) -> str | None:
    """Return a Python of this version (as 3.12) that starts: on the path, under pyenv, or beside this one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    # Where each version has a folder of its own, this one's lies among them, whatever HOME says.
    folders = [pyenv, Path(sys.base_prefix).parent]
    candidates: list[str | Path | None] = [
        shutil.which(f"python{version}"),
        *(found for folder in folders for found in sorted(folder.glob(f"{version}.*/bin/python"))),
    ]
    for candidate in candidates:
        if candidate is None:
            continue
        done = subprocess.run([candidate, "-c", ""], capture_output=True, check=False, timeout=60)
        if done.returncode == 0:
            return str(candidate)
    return None
