"""Taking folders away that trainings have written to, however deep they are."""

from __future__ import annotations

import shutil
import subprocess


def remove(folder: str) -> None:
    """Remove a folder and all below it, as far as that is possible."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        # Python goes down by recursion before 3.13.
        subprocess.run(["rm", "-rf", "--", folder], check=False, stderr=subprocess.DEVNULL)
