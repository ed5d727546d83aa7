"""The local instance of a user without a home folder, a login or any rights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import local_standin
import pytest
from local_processes import end_everything, processes_of

import augury
import augury_workers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user"),
]

NOBODY = 65534


def as_nobody(
    python: str, *words: str, folder: str = "/", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python as nobody, with nothing in the environment but what is given."""
    roots = [Path(augury.__file__).parents[1], Path(augury_workers.__file__).parents[1]]
    packages = next(entry for entry in sys.path if entry.endswith("site-packages"))
    path = os.pathsep.join([*map(str, roots), packages])
    return subprocess.run(
        [python, "-P", *words],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": "/nonexistent", "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that nobody may run: ours may be in root's home."""
    names = (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    for name in names:
        try:
            if (
                as_nobody(name, "-c", f"import augury.local; open({local_standin.__file__!r})").returncode
                == 0
            ):
                return name
        except OSError:
            continue
    pytest.skip("nobody can run no Python of this version, or not read this checkout")


def test_nobody_has_an_instance_in_a_folder_of_the_machine(python: str) -> None:
    home = Path(f"/var/tmp/augury-{NOBODY}")
    if home.exists():
        pytest.skip(f"{home} is in use")
    try:
        shown = as_nobody(python, local_standin.__file__, "connect")
        assert shown.returncode == 0, shown.stderr
        assert home.stat().st_uid == NOBODY
        assert home.stat().st_mode & 0o777 == 0o700
        again = as_nobody(python, local_standin.__file__, "connect")
        assert json.loads(again.stdout) == json.loads(shown.stdout)
        code = "from augury.local import *; print(down(), all(c.ok for c in doctor()) or doctor())"
        ended = as_nobody(python, "-c", code)
        assert ended.stdout == "True True\n", ended
        assert not processes_of(home)
    finally:
        end_everything(home)
        shutil.rmtree(home, ignore_errors=True)


def test_nobody_is_told_by_name_what_is_not_theirs(python: str, tmp_path: Path) -> None:
    code = "from augury.local import *; print(*[c.text for c in doctor() if not c.ok])"
    theirs = Path("/tmp") / f"of root {os.getpid()}"
    theirs.mkdir(mode=0o755)
    try:
        shown = as_nobody(python, "-c", code, AUGURY_HOME=str(theirs))
        assert f"{theirs} belongs to root, not to you" in shown.stdout, shown
        shown = as_nobody(python, "-c", code, AUGURY_HOME=str(theirs / "below"))
        assert f"cannot make the folder {theirs / 'below'}: {theirs} is not writable" in shown.stdout, shown
        own = theirs / "own"
        own.mkdir()
        os.chown(own, NOBODY, NOBODY)
        own.chmod(0o500)
        shown = as_nobody(python, "-c", code, AUGURY_HOME=str(own))
        assert f"{own} is not writable for you (mode 0500)" in shown.stdout, shown
    finally:
        shutil.rmtree(theirs)
