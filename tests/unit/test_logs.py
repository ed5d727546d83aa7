"""The kept output of an attempt: its beginning and its end, byte for byte."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury import logs
from augury.errors import UnavailableError
from augury.logs import SEGMENT_BYTES, TAIL_SEGMENTS, LogFiles


def test_bytes_come_back_as_they_were_written(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    files.write(1, 1, 0, b"caf\xc3\xa9\n\xff\x00")
    files.write(1, 1, 8, b"more\n")
    page = files.read(1, 1, 0, 100)
    assert page.data == b"caf\xc3\xa9\n\xff\x00more\n"
    assert (page.offset, page.next_offset) == (0, 13)


def test_the_same_bytes_may_arrive_twice(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    for _ in range(2):
        files.write(1, 1, 0, b"one\n")
        files.write(1, 1, 4, b"two\n")
    assert files.read(1, 1, 0, 100).data == b"one\ntwo\n"
    assert files.size(1, 1) == 8


def test_a_disk_that_takes_only_a_part_is_asked_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: pwrite(handle, bytes(data)[:3], at))
    files = LogFiles(tmp_path)
    files.write(1, 1, 0, b"one two three\n")
    assert files.read(1, 1, 0, 100).data == b"one two three\n"


def test_a_full_disk_is_something_to_wait_for_and_a_broken_path_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(code: int) -> None:
        def pwrite(*_: object) -> int:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "pwrite", pwrite)

    fail(errno.ENOSPC)
    with pytest.raises(UnavailableError, match="No space left on device"):
        LogFiles(tmp_path).write(1, 1, 0, b"one\n")
    fail(errno.EBADF)
    with pytest.raises(OSError, match="Bad file descriptor"):
        LogFiles(tmp_path).write(1, 1, 0, b"one\n")


def test_attempts_do_not_mix(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    files.write(1, 1, 0, b"first")
    files.write(1, 2, 0, b"second")
    assert files.read(1, 1, 0, 100).data == b"first"


def test_a_run_without_output_is_empty(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    assert files.read(7, 1, 0, 100).data == b""
    assert files.size(7, 1) == 0
    assert files.tail(7, 1, 10).data == b""


def test_a_long_output_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    total = SEGMENT_BYTES * (TAIL_SEGMENTS + 4)
    block = SEGMENT_BYTES // 2
    for offset in range(0, total, block):
        files.write(1, 1, offset, bytes([offset // block]) * block)
    assert files.size(1, 1) == total
    assert files.read(1, 1, 0, 1).data == b"\x00"
    # Behind the beginning comes the oldest part that is still kept.
    page = files.read(1, 1, SEGMENT_BYTES, 1)
    assert page.offset > SEGMENT_BYTES
    assert page.data == bytes([page.offset // block])
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*.log"))
    assert kept <= SEGMENT_BYTES * (TAIL_SEGMENTS + 1)


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    files.write(1, 1, 0, b"".join(b"line %d\n" % i for i in range(1000)))
    page = files.tail(1, 1, 2)
    assert page.data == b"line 998\nline 999\n"
    assert page.next_offset == files.size(1, 1)


def test_bytes_that_never_came_are_told_not_shown(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    files.write(1, 1, 0, b"begin")
    files.write(1, 1, 5000, b"end")
    text = logs.readable(files.read(1, 1, 0, 10_000).data)
    assert text == "begin\n[augury: output is missing here]\nend"


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=30), st.integers(1, 64))
def test_reading_by_pages_gives_everything(tmp_path_factory, parts: list[bytes], limit: int) -> None:
    files = LogFiles(tmp_path_factory.mktemp("logs"))
    small = 97
    previous, logs.SEGMENT_BYTES = logs.SEGMENT_BYTES, small
    try:
        offset = 0
        for part in parts[:TAIL_SEGMENTS]:
            files.write(1, 1, offset, part[:small])
            offset += len(part[:small])
        wanted = b"".join(part[:small] for part in parts[:TAIL_SEGMENTS])
        read, at = b"", 0
        while (page := files.read(1, 1, at, limit)).data:
            read += page.data
            at = page.next_offset
        assert read == wanted
    finally:
        logs.SEGMENT_BYTES = previous


def test_a_progress_bar_is_one_line_of_the_tail(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    files.write(1, 1, 0, b"start\n 10%\r 50%\r100%\nend\n")
    assert files.tail(1, 1, 2).data == b" 10%\r 50%\r100%\nend\n"
    assert files.tail(1, 1, 0).data == b""
    files.write(1, 1, 25, b"and")
    assert files.tail(1, 1, 2).data == b"end\nand"
