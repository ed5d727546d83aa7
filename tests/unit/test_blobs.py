"""The store of files: whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from augury.blobs import Blobs, outputs_name, snapshot_name
from augury.errors import NotFoundError, UnavailableError, UsageError


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs") if request.param == "folder" else f"memory://{tmp_path}")


def test_what_is_put_is_read_back(blobs: Blobs) -> None:
    name = snapshot_name("ab" * 32)
    assert blobs.size(name) is None
    assert blobs.put(name, [b"one ", b"two"]) == 7
    assert blobs.size(name) == 7
    with blobs.open(name) as file:
        file.seek(4)
        assert file.read() == b"two"


def test_a_later_blob_replaces_an_earlier_one_of_its_name(blobs: Blobs) -> None:
    blobs.put(outputs_name(401, 1), [b"first"])
    blobs.put(outputs_name(401, 1), [b"second"])
    with blobs.open(outputs_name(401, 1)) as file:
        assert file.read() == b"second"


def test_a_blob_that_breaks_off_is_not_kept(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError("the worker went away")

    blobs = Blobs(str(tmp_path))
    with pytest.raises(ConnectionError):
        blobs.put("outputs/1.1.zip", chunks())
    assert blobs.size("outputs/1.1.zip") is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_removed_blob_is_gone_and_removing_it_again_is_no_error(blobs: Blobs) -> None:
    blobs.put("outputs/1.1.zip", [b"x"])
    blobs.remove("outputs/1.1.zip")
    blobs.remove("outputs/1.1.zip")
    with pytest.raises(NotFoundError):
        blobs.open("outputs/1.1.zip")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"outputs/1\.1\.zip cannot be stored"):
        Blobs(str(tmp_path / "file")).put("outputs/1.1.zip", [b"x"])


def test_an_unknown_scheme_names_the_setting() -> None:
    with pytest.raises(UsageError, match="AUGURY_BLOB_URL=gopher"):
        Blobs("gopher://x/y")


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outputs").mkdir()
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    blobs = Blobs(str(tmp_path))
    make = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, mode: (make(path, flags, mode), make(full, os.O_WRONLY))[1]
    )
    with pytest.raises(UnavailableError, match="No space left on device"):
        blobs.put("outputs/1.1.zip", [b"x"])
    assert list((tmp_path / "outputs").iterdir()) == []


def test_what_the_dead_had_begun_to_write_is_swept_away(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put("outputs/1.1.zip", [b"x"])
    young, old = tmp_path / "outputs/2.1.zip.ab.part", tmp_path / "outputs/3.1.zip.cd.part"
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    blobs.sweep()
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["1.1.zip", young.name]
