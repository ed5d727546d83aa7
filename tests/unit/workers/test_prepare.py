"""A snapshot is fetched and unpacked once per search, kept while it is used, and removed when idle."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from augury_workers import trees
from augury_workers.blobs import FolderDoor, RefusedError, UnreachableError
from augury_workers.prepare import AbortedError, BuildFailedError, Preparation
from augury_workers.trees import Tree


def _snapshot(blobs: Path, **files: bytes) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    FolderDoor(str(blobs)).store(f"snapshots/{digest}.tar.gz", [packed.getvalue()])
    return digest


class _Door:
    """Hands out of a folder after the misfortunes it was given."""

    def __init__(self, blobs: Path, *troubles: Exception) -> None:
        self.folder = FolderDoor(str(blobs))
        self.troubles = list(troubles)
        self.fetched = 0

    def fetch(self, name: str, target: str) -> int:
        self.fetched += 1
        if self.troubles:
            raise self.troubles.pop(0)
        return self.folder.fetch(name, target)

    def store(self, name: str, chunks: Iterable[bytes]) -> int:
        raise NotImplementedError

    def abort(self) -> None: ...


def _preparation(tmp_path: Path, digest: str, door: Any, **order: Any) -> Preparation:
    order = {"run": 401, "search": 59, "prepare": {"snapshot": digest}} | order
    return Preparation(order, str(tmp_path / "state" / "snapshots"), lambda: door)


def _tree(tmp_path: Path, digest: str, door: Any, **order: Any) -> Tree:
    return asyncio.run(_preparation(tmp_path, digest, door, **order).tree())


def _names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "state" / "snapshots").iterdir())


def test_runs_of_a_search_share_one_tree_and_two_versions_do_not(tmp_path: Path) -> None:
    one, other = _snapshot(tmp_path, a=b"one"), _snapshot(tmp_path, a=b"other")
    door = _Door(tmp_path)
    first, again = _tree(tmp_path, one, door), _tree(tmp_path, one, door, run=402)
    assert first.path == again.path
    assert door.fetched == 1
    assert Path(first.path, "a").read_bytes() == b"one"
    assert Path(_tree(tmp_path, other, door).path, "a").read_bytes() == b"other"
    # A single run has a number of its own counter.
    assert _tree(tmp_path, one, door, search=None, run=59).path != first.path
    assert all(name.startswith(("search-59-", "run-59-")) for name in _names(tmp_path))
    assert not any(name.endswith(trees.UNFINISHED) for name in _names(tmp_path))


def test_of_two_slots_at_once_one_unpacks_and_the_other_waits(tmp_path: Path) -> None:
    digest = _snapshot(tmp_path, a=b"one")

    class Slow(_Door):
        def fetch(self, name: str, target: str) -> int:
            time.sleep(0.2)
            return super().fetch(name, target)

    door = Slow(tmp_path)
    found: list[Tree] = []
    threads = [threading.Thread(target=lambda: found.append(_tree(tmp_path, digest, door))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert door.fetched == 1
    assert len({tree.path for tree in found}) == 1
    assert len(found) == 4


def test_a_slot_that_came_at_the_same_moment_does_not_wait_for_the_run_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole = str(tmp_path / "trees"), trees._is_whole
    pauses: list[float] = []
    first = trees.get(folder, "x", lambda fresh: Path(fresh).mkdir(), lambda _: None)
    # The second looked before the first had made the files.
    seen = iter([False])
    monkeypatch.setattr(trees, "_is_whole", lambda path, lock: next(seen, True) and whole(path, lock))
    second = trees.get(folder, "x", lambda _: pytest.fail("made twice"), pauses.append)
    assert first.path == second.path
    assert pauses == [trees._WAIT_SECONDS]


def test_bytes_that_are_not_the_snapshot_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    digest = _snapshot(tmp_path, a=b"one")
    (tmp_path / "snapshots" / f"{digest}.tar.gz").write_bytes(b"other")
    with pytest.raises(BuildFailedError, match="the snapshot that came is another: its SHA-256 is d9298a1"):
        _tree(tmp_path, digest, _Door(tmp_path))
    assert [name for name in _names(tmp_path) if not name.endswith(".lock")] == []


def test_a_hostile_archive_leaves_nothing_behind(tmp_path: Path) -> None:
    digest = _snapshot(tmp_path, **{"a": b"one", "../b": b"two"})
    with pytest.raises(BuildFailedError, match=r"cannot be unpacked: it names a path .*'\.\./b'"):
        _tree(tmp_path, digest, _Door(tmp_path))
    assert [name for name in _names(tmp_path) if not name.endswith(".lock")] == []
    assert not (tmp_path / "state" / "b").exists()


def test_a_server_out_of_reach_is_tried_again_and_a_refusal_is_final(tmp_path: Path) -> None:
    digest = _snapshot(tmp_path, a=b"one")
    door = _Door(tmp_path, UnreachableError("away"), UnreachableError("away"))
    assert Path(_tree(tmp_path, digest, door).path, "a").exists()
    assert door.fetched == 3
    with pytest.raises(BuildFailedError, match="cannot be had: not in the store"):
        _tree(tmp_path, digest, _Door(tmp_path, RefusedError("not in the store")), search=60)


def _full(*_: Any) -> int:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path) -> None:
    digest = _snapshot(tmp_path, a=b"one")
    door = _Door(tmp_path)
    door.fetch = _full  # type: ignore[method-assign]
    with pytest.raises(BuildFailedError, match=r"does not fit on the worker's disk: .* is full"):
        _tree(tmp_path, digest, door)


def test_waiting_for_the_server_or_for_another_slot_is_ended_at_once(tmp_path: Path) -> None:
    digest = _snapshot(tmp_path, a=b"one")

    async def aborted(preparation: Preparation) -> None:
        asyncio.get_running_loop().call_later(0.1, preparation.abort)
        with pytest.raises(AbortedError):
            await preparation.tree()

    begun = time.monotonic()
    absent = _Door(tmp_path, *[UnreachableError("away")] * 100)
    asyncio.run(aborted(_preparation(tmp_path, digest, absent)))

    def make(_: str) -> None:
        asyncio.run(aborted(_preparation(tmp_path, digest, _Door(tmp_path))))
        raise OSError("enough")

    name = f"search-59-{digest[:16]}"
    with pytest.raises(OSError, match="enough"):
        trees.get(str(tmp_path / "state" / "snapshots"), name, make, time.sleep)
    assert time.monotonic() - begun < 2


def _aged(tmp_path: Path, path: str) -> None:
    old = time.time() - 2 * trees.IDLE_SECONDS
    os.utime(f"{path}.lock", (old, old))


def _swept(tmp_path: Path) -> list[str]:
    trees.sweep(str(tmp_path / "state" / "snapshots"))
    return _names(tmp_path)


def test_idle_trees_are_removed_after_a_day_and_never_one_in_use(tmp_path: Path) -> None:
    trees.sweep(str(tmp_path / "nothing" / "there"))
    digest = _snapshot(tmp_path, a=b"one")
    tree = _tree(tmp_path, digest, _Door(tmp_path))
    _aged(tmp_path, tree.path)
    assert len(_swept(tmp_path)) == 2
    tree.release()  # the day begins now
    assert len(_swept(tmp_path)) == 2
    # A run may have taken its own right to write.
    Path(tree.path, "sub").mkdir()
    Path(tree.path, "sub", "b").write_bytes(b"")
    Path(tree.path, "sub").chmod(0o500)
    _aged(tmp_path, tree.path)
    assert _swept(tmp_path) == []


def test_what_a_killed_worker_or_a_crashed_machine_left_is_made_anew(tmp_path: Path) -> None:
    digest = _snapshot(tmp_path, a=b"one")
    door = _Door(tmp_path)
    tree = _tree(tmp_path, digest, door)
    tree.release()
    Path(tree.path, "a").write_bytes(b"")  # torn
    Path(f"{tree.path}.lock").write_bytes(b"another boot")
    Path(f"{tree.path}.77{trees.UNFINISHED}").mkdir()
    Path(f"{tree.path}.77{trees.UNFINISHED}.tar.gz{trees.UNFINISHED}").write_bytes(b"half")
    assert Path(_tree(tmp_path, digest, door).path, "a").read_bytes() == b"one"
    assert door.fetched == 2
    assert len(_names(tmp_path)) == 2
