"""The journal of reports, and the relay over it, without Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury_workers import protocol, spool
from augury_workers.link import Command, LinkError, ReplyError
from augury_workers.relay import BYTES_PER_SAY, Relay
from augury_workers.spool import Identity, Report, Spool, decode, encode

ONE = Identity(1, 1, "aa")
TWO = Identity(2, 3, "bb")


def add(journal: Spool, identity: Identity, *reports: Report) -> None:
    journal.keep(identity).reports.extend(reports)
    journal.append(identity, reports)


def kept(journal: Spool) -> dict[Identity, list[int]]:
    return {identity: [report.s for report in entry.reports] for identity, entry in journal.kept.items()}


@given(st.lists(st.tuples(st.text(), st.binary()), max_size=5), st.integers(0, 200))
def test_records_are_read_back_up_to_where_the_file_breaks_off(
    items: list[tuple[str, bytes]], cut: int
) -> None:
    records = [encode(ONE, s, body, data) for s, (body, data) in enumerate(items, 1)]
    content = b"".join(records)
    assert [(r.s, r.body, r.data) for _, r in decode(content)] == [
        (s, body, data) for s, (body, data) in enumerate(items, 1)
    ]
    whole = 0
    broken = content[:cut]
    while broken.startswith(b"".join(records[: whole + 1])) and whole < len(records):
        whole += 1
    assert len(list(decode(broken))) == whole


def test_next_supervisor_finds_what_was_not_settled(tmp_path: Path) -> None:
    path = str(tmp_path / "spool")
    journal = Spool(path)
    add(journal, ONE, Report(1, "{}"), Report(2, '{"k": "final"}', b"\0\n"))
    add(journal, TWO, Report(1, '{"k": "log"}'))
    journal.mark_died(TWO, "why")
    journal.mark_died(TWO, "later reason")
    journal.close()
    again = Spool(path)
    assert kept(again) == {ONE: [1, 2], TWO: [1]}
    assert again.kept[ONE].ended
    assert again.kept[ONE].reports[1].data == b"\0\n"
    assert (again.kept[TWO].died, again.kept[TWO].ended) == ("why", False)
    again.settle(ONE)
    add(again, TWO, Report(2, "{}"))
    again.close()
    assert kept(Spool(path)) == {TWO: [1, 2]}


def test_file_is_emptied_when_everything_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    journal = Spool(str(path))
    add(journal, ONE, Report(1, "{}"))
    add(journal, TWO, Report(1, "{}"))
    journal.settle(ONE)
    journal.settle(ONE)
    assert path.stat().st_size > 0
    journal.settle(TWO)
    assert path.stat().st_size == 0


def test_large_file_is_rewritten_with_what_is_still_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "REWRITE_BYTES", 10_000)
    path = tmp_path / "spool"
    journal = Spool(str(path))
    journal.mark_died(TWO, "why")
    for s in range(1, 1001):
        add(journal, ONE, Report(s, "{}", b"x" * 100))
        if s > 5:
            journal.keep(ONE).reports.popleft()
    assert path.stat().st_size < 12_000
    journal.close()
    again = Spool(str(path))
    assert kept(again)[ONE][-5:] == [996, 997, 998, 999, 1000]
    assert again.kept[TWO].died == "why"


def test_full_disk_leaves_whole_records_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "spool")
    journal = Spool(path)
    add(journal, ONE, Report(1, "{}"))
    written: list[int] = []

    def half(file: int, data: bytes) -> int:
        written.append(len(data))
        return real(file, data[: len(data) // 2])

    real = spool.os.write
    with monkeypatch.context() as patch:
        patch.setattr(spool.os, "write", half)
        add(journal, ONE, Report(2, "{}"))
    assert written
    # A later report of the same attempt would leave a gap; another attempt is kept again.
    add(journal, ONE, Report(3, "{}"))
    add(journal, TWO, Report(1, "{}"))
    assert kept(journal)[ONE] == [1, 2, 3]
    journal.close()
    assert kept(Spool(path)) == {ONE: [1], TWO: [1]}


class FakeLink:
    """Answers SAY like the script, on a dictionary."""

    def __init__(self) -> None:
        self.att: dict[str, str] | None = {"token": "1", "nonce": "aa", "want": "", "ack": "0", "gen": "g1"}
        self.stream: list[int] = []
        self.batches: list[int] = []
        self.fail = False
        self.knows_script = False

    async def call(self, *commands: Command, timeout: float = 10.0) -> list[Any]:
        if self.fail:
            raise LinkError("cut")
        return [self._answer(command) for command in commands]

    def _answer(self, command: Sequence[Any]) -> Any:
        if command[0] == "EVALSHA" and not self.knows_script:
            return ReplyError("NOSCRIPT No matching script")
        if command[0] == "EVAL":
            assert command[1] == protocol.SAY
            self.knows_script = True
        if self.att is None:
            return [b"gone", b"", b"0", b""]
        if (str(command[6]), command[7]) != (self.att["token"], self.att["nonce"]):
            return [b"superseded", b"", b"0", b""]
        numbers = list(command[9::3])
        self.stream += numbers
        self.batches.append(len(numbers))
        return [b"yours", *(self.att[name].encode() for name in ("want", "ack", "gen"))]


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def relay(link: FakeLink, tmp_path: Path) -> Relay:
    return Relay(link, protocol.Keys("t"), ONE, Spool(str(tmp_path / "spool")))  # type: ignore[arg-type]


def say(relay: Relay) -> str:
    return asyncio.run(relay.say())


def test_reports_are_sent_once_and_kept_until_acknowledged(relay: Relay, link: FakeLink) -> None:
    for _ in range(3):
        relay.add({"k": "log"}, b"x")
    assert say(relay) == "yours"
    assert say(relay) == "yours"
    assert link.stream == [1, 2, 3]
    assert not relay.unsent
    assert not relay.settled
    assert relay.unacked_bytes > 0
    assert link.att is not None
    link.att["ack"] = "3"
    say(relay)
    assert relay.settled
    assert relay.unacked_bytes == 0


def test_failed_call_is_repeated_with_the_same_reports(relay: Relay, link: FakeLink) -> None:
    relay.add({"k": "log"})
    link.fail = True
    with pytest.raises(LinkError):
        say(relay)
    link.fail = False
    say(relay)
    assert link.stream == [1]


@pytest.mark.parametrize("how", ["new generation", "gone"])
def test_everything_unacknowledged_is_sent_again_after(how: str, relay: Relay, link: FakeLink) -> None:
    for _ in range(4):
        relay.add({"k": "log"})
    say(relay)
    assert link.att is not None
    link.att["ack"] = "2"
    say(relay)
    link.stream.clear()
    if how == "gone":
        att, link.att = link.att, None
        relay.add({"k": "log"})
        assert say(relay) == "gone"
        link.att = att
    else:
        link.att["gen"] = "g2"
        relay.add({"k": "log"})
        say(relay)
        link.stream.clear()
    assert relay.unsent
    say(relay)
    assert link.stream == [3, 4, 5]


def test_only_a_call_that_finds_the_attempt_ours_renews_the_lease(relay: Relay, link: FakeLink) -> None:
    relay.renewed = 0.0
    att, link.att = link.att, None
    say(relay)
    assert relay.renewed == 0.0
    link.att = att
    say(relay)
    assert relay.renewed > 0.0


def test_superseded_attempt_sends_nothing(relay: Relay, link: FakeLink) -> None:
    assert link.att is not None
    link.att["token"] = "2"
    relay.add({"k": "log"})
    assert say(relay) == "superseded"
    assert link.stream == []


def test_want_is_passed_on(relay: Relay, link: FakeLink) -> None:
    assert link.att is not None
    link.att["want"] = "stop"
    say(relay)
    assert relay.want == "stop"


def test_much_is_sent_in_several_calls_of_a_megabyte(relay: Relay, link: FakeLink) -> None:
    for _ in range(40):
        relay.add({"k": "log"}, b"x" * 65536)
    while relay.unsent:
        say(relay)
    assert link.stream == list(range(1, 41))
    assert all(65536 * (count - 1) < BYTES_PER_SAY for count in link.batches)
    assert len(link.batches) == 3


def test_relay_is_full_at_four_mebibytes(relay: Relay) -> None:
    while not relay.full:
        relay.add({"k": "log"}, b"x" * 65536)
    assert protocol.UNACKED_BYTES_LIMIT <= relay.unacked_bytes < protocol.UNACKED_BYTES_LIMIT + 70_000


def test_relay_of_an_earlier_supervisor_goes_on_where_its_spool_begins(
    link: FakeLink, tmp_path: Path
) -> None:
    path = str(tmp_path / "spool")
    journal = Spool(path)
    first = Relay(link, protocol.Keys("t"), ONE, journal)  # type: ignore[arg-type]
    for _ in range(3):
        first.add({"k": "log"})
    first.write_spool()
    journal.close()
    second = Relay(link, protocol.Keys("t"), ONE, Spool(path))  # type: ignore[arg-type]
    assert second.unsent
    assert link.att is not None
    link.att["ack"] = "2"
    assert second.looked([b"1", b"aa", b"2", b"g7"]) == "yours"
    say(second)
    assert link.stream == [3]
    assert second.looked([b"2", b"", b"0", b""]) == "superseded"
    assert second.looked([None, None, None, None]) == "gone"
