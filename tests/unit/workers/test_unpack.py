"""Snapshots are unpacked strictly: files and directories below one new folder, and nothing else."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from augury_workers import unpack as unpack_module
from augury_workers.unpack import UnpackError, unpack


def _entry(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    head = info.tobuf(tarfile.GNU_FORMAT)
    return head + content + b"\0" * (-len(content) % 512)


def _packed(tmp_path: Path, parts: Iterable[bytes], end: bytes = b"\0" * 1024) -> str:
    path = tmp_path / "made.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for part in parts:
            file.write(part)
        file.write(end)
    return str(path)


def _refused(tmp_path: Path, *parts: bytes, match: str, end: bytes = b"\0" * 1024) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UnpackError, match=match):
        unpack(_packed(tmp_path, parts, end), str(tmp_path / "out"))
    outside = [path for path in tmp_path.rglob("*") if (tmp_path / "out") not in (path, *path.parents)]
    assert sorted(outside) == sorted({*before, tmp_path / "made.tar.gz"})


def test_files_and_directories_come_out_as_they_went_in(tmp_path: Path) -> None:
    long = "d" * 90 + "/" + "é" * 100
    odd = "not utf-8 \udcff"
    parts = [
        _entry("empty", b"", tarfile.DIRTYPE),
        _entry("a", b"one"),
        _entry("sub/run.sh", b"#!/bin/sh\n" * 300, mode=0o4777),
        _entry(long, b"deep"),
        _entry(odd, b""),
    ]
    mask = os.umask(0o027)
    try:
        unpack(_packed(tmp_path, parts), str(tmp_path / "out"))
    finally:
        os.umask(mask)
    out = tmp_path / "out"
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {"a", "sub/run.sh", long, odd}
    assert (out / "empty").is_dir()
    assert (out / "sub/run.sh").read_bytes() == b"#!/bin/sh\n" * 300
    assert stat.S_IMODE((out / "sub/run.sh").stat().st_mode) == 0o750
    assert stat.S_IMODE((out / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_other_tools_write_is_understood(tmp_path: Path, style: int) -> None:
    path = tmp_path / "by.tar.gz"
    with tarfile.open(path, "w:gz", format=style) as archive:
        info = tarfile.TarInfo("a" * 80 + "/" + "b" * 90)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    unpack(str(path), str(tmp_path / "out"))
    assert (tmp_path / "out" / ("a" * 80) / ("b" * 90)).read_bytes() == b"abc"


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "a/..", "..", ".", "./x", "a//x", "", "/", "a/./x", "x/"]
)
def test_a_path_that_could_lead_outside_is_refused(tmp_path: Path, name: str) -> None:
    _refused(tmp_path, _entry(name), match="a path that it must not")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"x"],
)
def test_links_devices_and_extensions_are_refused(tmp_path: Path, kind: bytes) -> None:
    _refused(tmp_path, _entry("a", b"", kind, linkname="/etc/passwd"), match="neither a file nor a directory")


def test_nothing_stands_there_twice(tmp_path: Path) -> None:
    _refused(tmp_path, _entry("a"), _entry("a"), match="twice")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    _refused(tmp_path, _entry("a"), _entry("a/b"), match="twice")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    _refused(tmp_path, _entry("a/b"), _entry("a"), match="twice")


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "MAX_MEMBERS", 100)
    _refused(tmp_path, *(_entry(str(i), b"") for i in range(101)), match="more than 100 files")


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "UNSUSPICIOUS_BYTES", 1024**2)
    monkeypatch.setattr(unpack_module, "MAX_RATIO", 20)
    _refused(tmp_path, _entry("zeros", b"\0" * 8 * 1024**2), match="bytes unpacked")
    assert (tmp_path / "out" / "zeros").stat().st_size <= 1024**2


def test_a_name_cannot_fill_the_memory(tmp_path: Path) -> None:
    _refused(tmp_path, _entry("a", b"b" * 10_000, b"L"), match="too long")


def test_damage_is_told(tmp_path: Path) -> None:
    header = bytearray(_entry("a"))
    header[0] ^= 1
    _refused(tmp_path, bytes(header), match="damaged")


@pytest.mark.parametrize("cut", [513, 700, 100])
def test_a_cut_archive_is_told(tmp_path: Path, cut: int) -> None:
    _refused(tmp_path, _entry("a", b"x" * 5000)[:cut], match="cut off", end=b"")


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "made.tar.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(UnpackError, match="damaged"):
        unpack(str(tmp_path / "made.tar.gz"), str(tmp_path / "out"))
