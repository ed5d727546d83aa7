"""Thousands of small searches on the real `step`, under every fault the models know.

`AUGURY_SIM_SEED=N` runs seed N alone, `AUGURY_SIM_SEEDS=F` runs F times as many.
"""

from __future__ import annotations

import pytest
from mutants import OF_STEP, Mutant
from simulator import World, simulate
from timeline import Violation, seeds

SEEDS = 4800
BLOCKS = 6
ENOUGH_FOR_A_MUTANT = 2000


def story(world: World) -> list[tuple[object, ...]]:
    """Return all that happened to the runs of a world."""
    return [
        (
            search.id,
            search.state,
            [(run.id, run.state, run.token, run.lost, run.landed) for run in search.runs],
        )
        for search in world.searches.values()
    ]


@pytest.mark.parametrize("block", range(BLOCKS))
def test_searches_end_as_they_shall_whatever_fails(block: int) -> None:
    share = SEEDS // BLOCKS
    for seed in seeds(block * share, share):
        simulate(seed)


def test_without_faults_every_run_is_executed_once() -> None:
    for seed in seeds(0, 200):
        world = simulate(seed, faults=False)
        assert world.crashes == 0
        assert {run.lost for run in world.runs.values()} == {0}
        assert {run.token for run in world.runs.values() if run.state == "complete"} <= {1}


def test_faults_do_happen() -> None:
    worlds = [simulate(seed) for seed in range(60)]
    runs = [run for world in worlds for run in world.runs.values()]
    assert sum(world.crashes for world in worlds) > 30
    assert sum(run.lost for run in runs) > 30
    assert {"complete", "stopped", "killed"} <= {run.state for run in runs}
    states = {search.state for world in worlds for search in world.searches.values()}
    assert states == {"finished", "stopped", "killed"}


def test_a_seed_tells_the_same_story_every_time() -> None:
    for seed in range(20):
        assert story(simulate(seed)) == story(simulate(seed))


@pytest.mark.parametrize("mutant", OF_STEP, ids=lambda mutant: mutant.name)
def test_the_simulator_catches(mutant: Mutant) -> None:
    """A bug in `step` is found within a few hundred searches, so the simulator is able to fail."""
    step = mutant.build().step

    def hunt() -> None:
        for seed in range(ENOUGH_FOR_A_MUTANT):
            simulate(seed, step)

    with pytest.raises(Violation, match="seed"):
        hunt()
