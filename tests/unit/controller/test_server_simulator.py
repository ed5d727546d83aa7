"""The real controller, ingest and reaper over the real store verbs, under every fault the models know.

`AUGURY_SIM_SEED=N` runs seed N alone, `AUGURY_SIM_SEEDS=F` runs F times as many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from mutants import OF_SERVER, Mutant
from server_simulator import THEMES, World, simulate
from timeline import Violation, seeds

SEEDS = 132
BLOCKS = 6
ENOUGH_FOR_A_MUTANT = 150


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Faults are logged by the thousand."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_run_has_its_result_whatever_fails(block: int) -> None:
    share = SEEDS // BLOCKS
    for seed in seeds(block * share, share):
        simulate(seed)


def test_without_faults_every_run_has_one_attempt() -> None:
    for seed in range(12):
        world = simulate(seed, faults=False)
        assert all(len(attempts) == 1 for attempts in world.attempts.values())
        assert not world.store.rows("SELECT id FROM runs WHERE token > 1 OR lost > 0")


def story(world: World) -> list[tuple[object, ...]]:
    """Return all that happened, but for the nonces' text."""
    events = world.store.rows("SELECT id, time, search_id, run_id, kind, data FROM events")
    return [tuple(row) for row in events]


def test_a_seed_tells_the_same_story_every_time() -> None:
    for seed in range(len(THEMES)):
        assert story(simulate(seed)) == story(simulate(seed))


@pytest.mark.parametrize("mutant", OF_SERVER, ids=lambda mutant: mutant.name)
def test_the_simulator_catches(mutant: Mutant) -> None:
    """A bug in the server is found within a few dozen simulations, so these are able to fail."""

    def hunt() -> None:
        for seed in range(ENOUGH_FOR_A_MUTANT):
            simulate(seed, mutant.theme)

    with mutant.installed(), pytest.raises(Violation, match="seed"):
        hunt()
