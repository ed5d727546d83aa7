"""The zip of a run's files: found, streamed, read back by the server."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from augury.blobs import Blobs, outputs_name
from augury.errors import NotFoundError, RefusedError
from augury.server.outputs import OutputFiles
from augury.store.records import RunRecord
from augury_workers import outputs
from augury_workers.outputs import AbortedError, DamagedError, find, zip_chunks
from augury_workers.removing import remove

RUN = RunRecord(
    401, 59, 0, "complete", "", 2, "ab", "{}", None, 1, 0, "w", None, 0, "exit", None, 1, 1.0, 1.0, 2.0
)


def zipped(folder: Path) -> bytes:
    return b"".join(zip_chunks(find(str(folder)), lambda: True))


def stored(tmp_path: Path, content: bytes) -> OutputFiles:
    blobs = Blobs(str(tmp_path / "blobs"))
    blobs.put(outputs_name(401, 2), [content])
    return OutputFiles(blobs)


def test_only_regular_files_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("x")
    (tmp_path / "a/link").symlink_to("/etc")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = find(str(tmp_path))
    assert [(one.name, one.size) for one in found.found] == [("a/b/c", 1)]
    assert found.left_out() == "left out of its outputs: 2 links, 1 special file"


def test_a_name_is_text_on_one_line_whatever_its_bytes(tmp_path: Path) -> None:
    for name in (b"\xff", "é".encode(), b"a\nb", b"\x1b[31m", b"back\\slash"):
        (tmp_path / os.fsdecode(name)).touch()
    names = {one.name for one in find(str(tmp_path)).found}
    assert names == {"\\xff", "é", "a\\nb", "\\x1b[31m", "back\\slash"}


def test_a_deep_tree_is_looked_through_and_removed(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_DIRECTORY)
    try:
        for _ in range(1500):  # deeper than Python recurses
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
    finally:
        os.close(here)
    assert find(str(tmp_path)).found == []
    remove(str(tmp_path / "d"))
    assert not list(tmp_path.iterdir())


def test_what_is_zipped_is_read_back_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "STORED_FROM", 100_000)
    folder = tmp_path / "output"
    (folder / "sub").mkdir(parents=True)
    contents = {"empty": b"", "sub/text": b"hello " * 10_000, "big": os.urandom(3_000_000), "old": b"x"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    os.utime(folder / "old", (0, 0))  # zip knows no year before 1980
    content = zipped(folder)
    files = stored(tmp_path, content)
    assert files.listing(RUN) == sorted((name, len(data)) for name, data in contents.items())
    assert files.count(RUN) == 4
    for name, data in contents.items():
        size, pieces = files.open(RUN, name)
        assert (size, b"".join(pieces)) == (len(data), data)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.getinfo("big").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("sub/text").compress_size < 1000


def test_memory_stays_small_however_big_the_files(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(200_000_000)
    sizes = [len(chunk) for chunk in zip_chunks(find(str(tmp_path)), lambda: True)]
    assert max(sizes) < 3_000_000


def test_an_aborted_zip_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10_000_000)
    with pytest.raises(AbortedError):
        list(zip_chunks(find(str(tmp_path)), lambda: False))


def test_a_file_that_cannot_be_opened_is_counted_and_one_that_breaks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("y")
    files = find(str(tmp_path))
    (tmp_path / "a").unlink()
    for _ in range(2):  # counted once, also when the zip is made again
        content = b"".join(zip_chunks(files, lambda: True))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["b"]
    assert files.left_out() == "left out of its outputs: 1 unreadable file"

    class Broken(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    def broken_open(path: str, *_: Any, **__: Any) -> Broken:
        return Broken(path, "rb")

    monkeypatch.setattr(outputs, "open", broken_open, raising=False)
    with pytest.raises(DamagedError, match="b cannot be read: Input/output error"):
        list(zip_chunks(files, lambda: True))


def test_a_run_that_was_killed_or_still_saves_has_no_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "a").write_text("x")
    files = stored(tmp_path, zipped(folder))
    for state in ("killed", "saving", "running"):
        assert files.listing(replace(RUN, state=state)) == []
        assert files.count(replace(RUN, state=state)) == 0
    assert files.listing(replace(RUN, token=1)) == []
    assert files.listing(RUN) == [("a", 1)]


def test_a_damaged_zip_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "a").write_bytes(b"12345")
    content = zipped(folder)
    with pytest.raises(RefusedError, match="the outputs of run 401 cannot be read"):
        stored(tmp_path / "1", b"").listing(RUN)
    with pytest.raises(RefusedError, match="the outputs of run 401 cannot be read"):
        stored(tmp_path / "2", b"XXXX" + content[4:]).open(RUN, "a")
    start = content.index(b"a") + 1
    wrong = content[: start + 24] + b"\xff" + content[start + 25 :]
    files = stored(tmp_path / "3", wrong)
    _, pieces = files.open(RUN, "a")
    with pytest.raises(zipfile.BadZipFile):
        b"".join(pieces)
    with pytest.raises(NotFoundError, match=r"no file '\.\./a'"):
        files.open(RUN, "../a")


def test_a_zip_bomb_comes_out_in_small_pieces(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 100_000_000)
    _, pieces = stored(tmp_path, target.getvalue()).open(RUN, "bomb")
    sizes = [len(piece) for piece in pieces]
    assert sum(sizes) == 100_000_000
    assert max(sizes) <= 256 * 1024
