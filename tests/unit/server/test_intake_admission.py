"""What comes of a claim that is refused: the run stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.store.databases import NOW, get_run, new_search

from augury.ingest.admission import Refusal
from augury.ingest.intake import Intake, Outcome
from augury.ingest.messages import Claim, Mark
from augury.logs import LogFiles
from augury.store.database import Store

CLAIM = Claim(1, 1, "aa", "k80@h", 0, 1, Mark("k2", "", ""))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'store.db'}")
    new_search(made, 1)
    yield made
    made.close()


def take(store: Store, refused: Refusal | None, folder: Path) -> Outcome:
    intake = Intake({}, {}, LogFiles(folder / "runs"), NOW, NOW, lambda claim: refused)
    return store.writer.call(lambda connection: intake(connection, [CLAIM]))


@pytest.mark.parametrize(
    ("refused", "told"), [("key", "key"), ("version", "version"), ("drained", "superseded")]
)
def test_a_refused_claim_changes_nothing(store: Store, tmp_path: Path, refused: Refusal, told: str) -> None:
    before = get_run(store, 1)
    outcome = take(store, refused, tmp_path)
    assert (outcome.denied, outcome.granted, outcome.claimed) == ([("aa", told)], [], [])
    assert get_run(store, 1) == before


def test_a_worker_drained_after_its_claim_is_still_told_that_it_holds_the_run(
    store: Store, tmp_path: Path
) -> None:
    assert take(store, None, tmp_path).granted
    again = take(store, "drained", tmp_path)
    assert [(run.id, ack, kid) for run, _, ack, kid in again.granted] == [(1, 0, "k2")]
    assert (again.denied, again.claimed) == ([], [])
