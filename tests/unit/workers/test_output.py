"""The way of output into log reports."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from augury_workers.output import FLUSH_SECONDS, Log


class Taken:
    """Collects reports; full after `limit` of them."""

    def __init__(self, limit: int = 1000) -> None:
        self.reports: list[tuple[dict[str, Any], bytes]] = []
        self.limit = limit

    def add(self, body: dict[str, Any], data: bytes) -> None:
        self.reports.append((body, data))

    def full(self) -> bool:
        return len(self.reports) >= self.limit


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=30), st.integers(1, 500))
def test_every_byte_is_reported_or_counted_as_dropped(chunks: list[bytes], limit: int) -> None:
    log = Log(limit)
    taken = Taken()
    whole = b""
    for number, chunk in enumerate(chunks):
        log.add(chunk, float(number))
        whole += chunk
        if number % 7 == 3:
            log.flush(taken.add, taken.full)
    log.flush(taken.add, taken.full)
    assert log.waiting == 0
    assert log.total == len(whole)
    assert sum(len(data) for _, data in taken.reports) == log.total - log.dropped
    for body, data in taken.reports:
        assert whole[body["o"] : body["o"] + len(data)] == data


def test_reports_have_64_kib_at_most() -> None:
    log, taken = Log(), Taken()
    log.add(b"x" * 200_000, 0.0)
    log.flush(taken.add, taken.full)
    assert [(body["o"], len(data)) for body, data in taken.reports] == [
        (0, 65536),
        (65536, 65536),
        (131072, 65536),
        (196608, 3392),
    ]


def test_end_of_the_output_is_kept_when_the_server_is_away() -> None:
    log, taken = Log(1000), Taken(limit=0)
    for number in range(100):
        log.add(b"%04d" % number * 25, 0.0)
        log.flush(taken.add, taken.full)
    taken.limit = 10
    log.flush(taken.add, taken.full)
    assert log.dropped == 9000
    [(body, data)] = taken.reports
    assert body["o"] == 9000
    assert data.endswith(b"0099" * 25)


def test_output_is_due_after_a_moment_or_when_a_report_is_full() -> None:
    log = Log()
    assert not log.due(10.0)
    log.add(b"x", 10.0)
    assert not log.due(10.0 + FLUSH_SECONDS / 2)
    assert log.due(10.01 + FLUSH_SECONDS)
    log.add(b"x" * 65536, 10.0)
    assert log.due(10.0)


def test_note_begins_a_line_of_its_own() -> None:
    log, taken = Log(), Taken()
    log.add(b"no newline", 0.0)
    log.note("first", 0.0)
    log.note("second", 0.0)
    log.flush(taken.add, taken.full)
    assert taken.reports[0][1] == b"no newline\n[augury] first\n[augury] second\n"
