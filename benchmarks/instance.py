"""An instance for a measurement: its own home, so many slots, ended afterwards."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instance:
    """A running local instance."""

    home: Path
    environment: dict[str, str]

    def augury(self, *words: str) -> str:
        """Return what `augury …` prints."""
        done = subprocess.run(
            ["augury", *words],
            env=self.environment,
            cwd=self.home,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def runs(self, search_id: int) -> list[tuple[float, float, float]]:
        """Return (queued, started, ended) of the runs of a search by start, in seconds."""
        with closing(sqlite3.connect(f"file:{self.home / 'store.db'}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                "SELECT queued_at, started_at, ended_at FROM runs WHERE search_id = ? ORDER BY started_at",
                (search_id,),
            )
            return list(rows)


@contextmanager
def started(slots: int) -> Iterator[Instance]:
    """Give an instance of `slots` slots, warmed up by one run."""
    with tempfile.TemporaryDirectory(prefix="augury-bench-") as folder:
        home = Path(folder)
        environment = os.environ | {"AUGURY_HOME": folder, "AUGURY_SLOTS": str(slots)}
        instance = Instance(home, environment)
        try:
            instance.augury("run", "--", "true")
            yield instance
        finally:
            subprocess.run(["augury", "down", "--force"], env=environment, check=False, capture_output=True)
