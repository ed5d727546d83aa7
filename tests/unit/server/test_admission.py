"""Who may work: the mark of the key, the version of the wire, drains; and whose slots count."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from augury.ingest.admission import Admission
from augury.ingest.messages import Claim, Hello, parse
from augury.ingest.roster import FORGET_SECONDS, Roster
from augury_workers import protocol
from augury_workers.protocol import Secret

NEW, OLD, FOREIGN = Secret("k2", b"n" * 32), Secret("k1", b"o" * 32), Secret("k2", b"f" * 32)


def entry(fields: Mapping[str, str | int]) -> dict[bytes, bytes]:
    return {name.encode(): str(value).encode() for name, value in fields.items()}


def claim(secret: Secret | None, **changes: str | int) -> Claim:
    fields = protocol.claim_fields(401, 1, "aa", "k80@h", 0)
    signed = fields if secret is None else protocol.sign_fields(fields, secret)
    found = parse(entry(signed | changes))
    assert isinstance(found, Claim)
    return found


def hello(secret: Secret, slots: int = 2, worker: str = "k80@h", **changes: str | int) -> Hello:
    fields = protocol.hello_fields(worker, "h", ["k80"], ["K80"], slots)
    found = parse(entry(protocol.sign_fields(fields | changes, secret)))
    assert isinstance(found, Hello)
    return found


@pytest.fixture
def admission() -> Admission:
    return Admission([NEW, OLD])


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_a_key_of_the_server_is_let_in(admission: Admission, secret: Secret) -> None:
    assert admission.claim(claim(secret)) is None
    assert admission.hello(hello(secret)) is None


def test_another_key_of_the_same_name_is_refused(admission: Admission) -> None:
    assert admission.claim(claim(FOREIGN)) == "key"
    assert admission.hello(hello(FOREIGN)) == "key"


@pytest.mark.parametrize(
    "changes", [{"kid": "k9"}, {"mac": ""}, {"mac": "é"}, {"run": 402}, {"worker": "other@h"}, {"more": "x"}]
)
def test_a_mark_that_does_not_fit_is_refused(admission: Admission, changes: dict[str, str | int]) -> None:
    assert admission.claim(claim(NEW, **changes)) == "key"


def test_a_claim_without_a_mark_is_refused(admission: Admission) -> None:
    assert admission.claim(claim(None)) == "key"


def test_another_version_is_refused_whatever_its_key(admission: Admission) -> None:
    assert admission.claim(claim(NEW, v=2)) == "version"
    assert admission.hello(hello(NEW, v=2)) == "version"


def test_a_drained_worker_gets_nothing_but_may_say_hello(admission: Admission) -> None:
    admission.drained = frozenset({"k80@h"})
    assert admission.claim(claim(NEW)) == "drained"
    assert admission.hello(hello(NEW)) is None


def test_a_mark_cannot_pass_for_an_order() -> None:
    text = protocol.signed_text({"k": "hello", "j": "{}"})
    sealed = {"order": text, "kid": NEW.kid, "mac": protocol.sign(text, NEW)}
    with pytest.raises(ValueError, match="Expecting value"):
        protocol.open_order(sealed, {NEW.kid: NEW})


def test_only_slots_that_take_runs_count() -> None:
    told: list[tuple[str, int]] = []
    roster = Roster(lambda queue, slots: told.append((queue, slots)))
    roster.hello(hello(NEW), 0.0)
    roster.hello(hello(NEW, worker="b@h"), 0.0)
    roster.hello(hello(FOREIGN, worker="c@h"), 0.0, "key")
    assert roster.slots("k80") == 4
    roster.drain(frozenset({"b@h", "gone@h"}))
    assert roster.slots("k80") == 2
    roster.drain(frozenset())
    assert [slots for _, slots in told] == [2, 4, 2, 4]
    assert [one.hello.worker for one in roster.workers()] == ["b@h", "k80@h"]
    assert [one.hello.worker for one in roster.everybody()] == ["b@h", "c@h", "k80@h"]


def test_who_has_left_or_fallen_silent_is_listed_for_a_day() -> None:
    roster = Roster(lambda queue, slots: None)
    roster.hello(hello(NEW), 0.0)
    roster.hello(hello(NEW, worker="b@h"), 0.0)
    roster.hello(hello(NEW, slots=0), 1.0)
    roster.hello(hello(NEW, slots=0, worker="never@h"), 1.0)
    roster.expire(40.0)
    assert [(one.hello.worker, one.gone, one.hello.slots) for one in roster.everybody()] == [
        ("b@h", "silent", 2),
        ("k80@h", "ended", 2),
    ]
    assert (roster.slots("k80"), roster.workers(), roster.knows("b@h")) == (0, [], False)
    roster.hello(hello(NEW, worker="b@h"), 41.0)
    assert roster.slots("k80") == 2
    roster.expire(FORGET_SECONDS + 2.0)
    assert [one.hello.worker for one in roster.everybody()] == ["b@h"]
