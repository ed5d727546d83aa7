"""A SQLite store that is locked by another program, or whose disk is full: nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lab.lab_search import (
    answer,
    assert_each_ran_once,
    refusal,
    start_search,
    wait_until_some_ended,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.integration

DISK_MIB = 8


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk; only root can mount one."""
    with tempfile.TemporaryDirectory(prefix="augury-disk-") as name:
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", name]
        if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode != 0:
            text = "a small disk needs root, who may mount"
            if os.environ.get("CI"):
                pytest.fail(text)
            pytest.skip(text)
        yield Path(name)
        subprocess.run(["umount", "--lazy", name], check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store is; a test may put it elsewhere."""
    return tmp_path


@pytest.fixture
def lab(folder: Path) -> Iterator[Lab]:
    """A lab with a server on SQLite and a worker with two slots."""
    with tempfile.TemporaryDirectory(prefix="augury-lab-") as name:
        made = Lab(Path(name), f"sqlite:///{folder / 'store.db'}")
        try:
            made.start_broker()
            # Its logs lie beside the store.
            (made.home("server") / ".local/state/augury").mkdir(parents=True)
            made.state.symlink_to(folder / "state")
            (folder / "state").mkdir()
            made.serve()
            made.worker("CPU", 2)
            made.wait_for_slots(2)
            yield made
            assert [process.poll() for process in made.processes] == [None] * 3
        finally:
            made.end()


def assert_whole(folder: Path) -> None:
    """The file of the store is undamaged."""
    with sqlite3.connect(folder / "store.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_store_that_somebody_locks_for_ten_seconds_loses_nothing(lab: Lab, folder: Path) -> None:
    search = start_search(lab)
    other = sqlite3.connect(folder / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        time.sleep(10)
        # What only reads is answered meanwhile.
        assert answer(lab, "runs") == (200, "")
    finally:
        other.close()
    assert_each_ran_once(lab, search)
    assert_whole(folder)


class TestFullDisk:
    """The store and the logs lie on a disk of `DISK_MIB`."""

    @pytest.fixture
    def folder(self, disk: Path) -> Path:
        """The store is on the small disk."""
        return disk

    def test_a_full_disk_is_told_and_loses_nothing_when_there_is_room_again(
        self, lab: Lab, folder: Path
    ) -> None:
        search = start_search(lab)
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        assert "the store does not answer" in refusal(lab)
        assert answer(lab, "runs") == (200, "")
        wait_until_some_ended(lab)
        time.sleep(2)
        ballast.unlink()
        assert_each_ran_once(lab, search)
        assert_whole(folder)
