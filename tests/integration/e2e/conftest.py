"""A user with a folder, a shell and a local instance of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
SLOTS = 4


@dataclass
class Shell:
    """Types `augury …` in a folder, with an instance that is this test's alone."""

    folder: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        binaries = str(Path(sys.executable).parent)
        base = {
            "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home.parent),
            "AUGURY_HOME": str(self.home),
            "AUGURY_SLOTS": str(SLOTS),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
        }
        return base | self.variables

    def run(
        self, *words: str, timeout: float = 120, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["augury", *words],
            cwd=cwd or self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def ok(self, *words: str, timeout: float = 120) -> str:
        done = self.run(*words, timeout=timeout)
        assert done.returncode == 0, (
            f"augury {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def search(self, search_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.json("hyper", "describe", str(search_id))
        return found

    def instance(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads((self.home / "instance.json").read_text())
        return found

    def processes(self, words: str = "") -> list[psutil.Process]:
        """Return the processes of the instance: those with its home, and `words`, in their command line."""
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                if process.pid != os.getpid() and str(self.home) in line and words in line:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for process in self.processes():
            try:
                process.send_signal(signal.SIGCONT)
            except psutil.Error:
                continue
        if (self.home / "instance.json").exists():
            self.run("down", "--force", timeout=60)
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                continue


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A user in a folder that holds only `train.py`; the home has a space in its name."""
    root = tmp_path_factory.mktemp("user")
    folder, home = root / "my project", root / "a home"
    folder.mkdir()
    shutil.copy(EXAMPLES / "train.py", folder)
    user = Shell(folder, home)
    yield user
    user.end()


def wait_until(condition: Callable[[], Any], seconds: float = 30, every: float = 0.05) -> Any:
    """Return what `condition` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every)
    pytest.fail(f"not within {seconds:g} s")
