"""The decisions of `step`, rule by rule: what a user of a search may rely on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import pytest

from augury.controller.state import (
    RUNS_WITHOUT_METRIC,
    SPARE_DOORBELLS,
    Action,
    Ask,
    Claimed,
    Event,
    Exhausted,
    Finish,
    Pause,
    Requeued,
    Resumed,
    Ring,
    RunEnded,
    RunsCreated,
    SearchOpened,
    SearchProgress,
    SlotsChanged,
    State,
    TokensRenewed,
    Wanted,
)
from augury.controller.step import step


class Machine:
    """A state, and the actions of the events it was told."""

    def __init__(self, slots: int = 4) -> None:
        self.state = State()
        self.next_run = 1
        self.tell(SlotsChanged("k80", slots))

    def tell(self, event: Event) -> list[Action]:
        return step(self.state, event)

    def open(
        self,
        search_id: int,
        runs: int,
        *,
        limit: int | None = None,
        num_runs: int | None = None,
        adaptive: bool = False,
        metric: str | None = None,
        queue: str = "k80",
    ) -> list[Action]:
        """Submit a search with so many queued runs, numbered on from the last one."""
        ids = range(self.next_run, self.next_run + runs)
        self.next_run += runs
        search = SearchProgress(
            search_id,
            queue,
            adaptive=adaptive,
            limit=limit,
            num_runs=num_runs or runs,
            metric=metric,
            created=runs,
            waiting=deque(ids),
            tokens=dict.fromkeys(ids, 1),
        )
        return self.tell(SearchOpened(search))

    def search(self, search_id: int) -> SearchProgress:
        return self.state.searches[search_id]

    def claim(self, run_id: int, token: int = 1) -> list[Action]:
        return self.tell(Claimed(run_id, token))

    def end(self, run_id: int, has_metric: bool | None = None) -> list[Action]:
        return self.tell(RunEnded(run_id, "complete", has_metric))

    def create(self, search_id: int) -> list[Action]:
        """Answer an `Ask` with one run."""
        run_id = self.next_run
        self.next_run += 1
        return self.tell(RunsCreated(search_id, [(run_id, 1)]))


def rung(actions: Iterable[Action]) -> list[int]:
    return [action.run_id for action in actions if isinstance(action, Ring)]


# --- the window -----------------------------------------------------------------------------------


def test_no_more_doorbells_wait_than_there_are_slots_and_a_few_spare() -> None:
    machine = Machine(slots=4)
    assert rung(machine.open(1, 100)) == list(range(1, 4 + SPARE_DOORBELLS + 1))
    assert rung(machine.open(2, 100)) == []


def test_each_claim_makes_room_for_the_next_doorbell() -> None:
    machine = Machine(slots=2)
    machine.open(1, 100)
    for claimed in range(1, 20):
        assert rung(machine.claim(claimed)) == [claimed + 2 + SPARE_DOORBELLS]


def test_a_search_waits_with_its_spare_doorbells_where_no_worker_is_up() -> None:
    machine = Machine(slots=0)
    assert rung(machine.open(1, 100)) == list(range(1, SPARE_DOORBELLS + 1))


def test_new_slots_are_filled_and_lost_ones_call_nothing_back() -> None:
    machine = Machine(slots=1)
    machine.open(1, 100)
    assert rung(machine.tell(SlotsChanged("k80", 3))) == [4, 5]
    assert machine.tell(SlotsChanged("k80", 0)) == []
    assert rung(machine.claim(1)) == []


def test_every_queue_has_a_window_of_its_own() -> None:
    machine = Machine(slots=1)
    machine.tell(SlotsChanged("a100", 1))
    machine.open(1, 50)
    actions = machine.open(2, 50, queue="a100")
    assert rung(actions) == [51, 52, 53]
    assert {action.queue for action in actions if isinstance(action, Ring)} == {"a100"}


# --- fairness -------------------------------------------------------------------------------------


def test_a_small_search_behind_a_huge_grid_has_all_its_runs_started_within_the_next_twelve() -> None:
    machine = Machine(slots=4)
    bells = deque(rung(machine.open(1, 10_000)))
    running: deque[int] = deque()

    def start_next() -> int:
        run_id = bells.popleft()
        running.append(run_id)
        bells.extend(rung(machine.claim(run_id)))
        return run_id

    for _ in range(4):
        start_next()
    bells.extend(rung(machine.open(2, 5)))
    started = []
    for _ in range(12):
        bells.extend(rung(machine.end(running.popleft())))
        started.append(start_next())
    assert set(started) >= {10_001, 10_002, 10_003, 10_004, 10_005}


def test_equal_searches_take_turns() -> None:
    machine = Machine(slots=0)
    for search_id in (1, 2, 3):
        machine.open(search_id, 10)
    order = rung(machine.tell(SlotsChanged("k80", 13)))
    assert [(run - 1) // 10 + 1 for run in order] == [2, 3, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]


def test_a_search_of_long_runs_is_not_starved_by_a_stream_of_small_ones() -> None:
    machine = Machine(slots=1)
    machine.open(1, 3)
    waiting_for_it = 0
    for search_id in range(2, 30):
        machine.open(search_id, 1)
        waiting = [run for one in machine.state.searches.values() for run in one.rung]
        machine.claim(waiting[0])
        machine.end(waiting[0])
        waiting_for_it += 1 if 1 in machine.state.searches else 0
    assert 1 not in machine.state.searches, f"still open after {waiting_for_it} others"


# --- the cap --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grid", "random"])
def test_parallel_runs_holds_for_grid_and_random(kind: str) -> None:
    machine = Machine(slots=8)
    assert rung(machine.open(1, 20, limit=3)) == [1, 2, 3]
    machine.claim(1)
    machine.claim(2)
    assert machine.search(1).in_flight == 3
    assert rung(machine.claim(3)) == []
    assert rung(machine.end(2)) == [4]
    assert rung(machine.end(1)) == [5]


def test_parallel_runs_holds_for_bayesian_runs_that_are_not_created_yet() -> None:
    machine = Machine(slots=8)
    machine.open(1, 3, limit=3, num_runs=10, adaptive=True)
    for run_id in (1, 2, 3):
        machine.claim(run_id)
    assert machine.end(2) == [Ask(1)]
    assert machine.end(1) == [], "one is being asked for already"
    assert machine.create(1) == [Ask(1), Ring(4, 1, "k80")]
    assert machine.create(1) == [Ring(5, 1, "k80")]
    assert machine.search(1).open_runs == 3


def test_a_lost_run_keeps_its_place_under_the_cap() -> None:
    machine = Machine(slots=8)
    machine.open(1, 20, limit=2)
    machine.claim(1)
    machine.claim(2)
    assert machine.tell(Requeued(1, 2)) == [Ring(1, 2, "k80")]
    assert machine.search(1).in_flight == 2


def test_the_cap_is_the_search_s_own() -> None:
    machine = Machine(slots=8)
    machine.open(1, 20, limit=1)
    assert rung(machine.open(2, 20, limit=2)) == [21, 22]


# --- learning -------------------------------------------------------------------------------------


def test_each_landing_asks_for_the_next_run_without_waiting_for_the_others() -> None:
    machine = Machine(slots=4)
    machine.open(1, 4, limit=4, num_runs=12, adaptive=True)
    for run_id in (1, 2, 3, 4):
        machine.claim(run_id)
    for run_id in (3, 1, 4):
        assert machine.end(run_id) == [Ask(1)]
        assert rung(machine.create(1)) != []


def test_the_last_runs_of_a_bayesian_search_are_waited_for_without_new_ones() -> None:
    machine = Machine(slots=4)
    machine.open(1, 2, limit=2, num_runs=3, adaptive=True)
    assert machine.end(1) == [Ask(1)]
    machine.create(1)
    assert machine.end(2) == []
    assert machine.end(3) == [Finish(1, "finished")]


def test_an_exhausted_space_ends_the_search_when_its_runs_are_final() -> None:
    machine = Machine()
    machine.open(1, 2, limit=2, num_runs=9, adaptive=True)
    assert machine.end(1) == [Ask(1)]
    assert machine.tell(Exhausted(1)) == []
    assert machine.end(2) == [Finish(1, "finished", exhausted=True)]


def test_a_space_exhausted_with_nothing_in_flight_ends_the_search_at_once() -> None:
    machine = Machine()
    machine.open(1, 1, limit=1, num_runs=9, adaptive=True)
    assert machine.end(1) == [Ask(1)]
    assert machine.tell(Exhausted(1)) == [Finish(1, "finished", exhausted=True)]


def test_a_search_with_all_its_runs_is_not_called_exhausted() -> None:
    machine = Machine()
    machine.open(1, 1, limit=1, num_runs=2, adaptive=True)
    machine.end(1)
    machine.create(1)
    assert machine.end(2) == [Finish(1, "finished", exhausted=False)]


# --- the end --------------------------------------------------------------------------------------


def test_a_search_is_finished_when_all_its_runs_are_final() -> None:
    machine = Machine()
    machine.open(1, 3)
    assert machine.end(3) == []
    assert machine.end(1) == []
    assert machine.end(2) == [Finish(1, "finished")]
    assert machine.state.searches == {}
    assert machine.state.search_of == {}
    assert machine.state.queue("k80").rung == 0


def test_a_search_read_from_the_store_after_its_last_run_is_finished_at_once() -> None:
    machine = Machine()
    done = SearchProgress(1, "k80", adaptive=False, limit=None, num_runs=2, metric=None, created=2, final=2)
    assert machine.tell(SearchOpened(done)) == [Finish(1, "finished")]


@pytest.mark.parametrize(("want", "state"), [("stop", "stopped"), ("kill", "killed")])
def test_a_search_that_shall_end_gets_no_further_runs(want: str, state: str) -> None:
    machine = Machine(slots=1)
    machine.open(1, 5, limit=1, num_runs=9, adaptive=True)
    machine.claim(1)
    assert machine.tell(Wanted(1, want)) == []  # type: ignore[arg-type]
    for killed in (2, 3, 4, 5):
        assert machine.tell(RunEnded(killed, "killed")) == []
    assert machine.tell(RunEnded(1, "stopped")) == [Finish(1, state)]  # type: ignore[arg-type]


def test_a_kill_is_stronger_than_a_stop_before_or_after_it() -> None:
    for order in (("stop", "kill"), ("kill", "stop")):
        machine = Machine()
        machine.open(1, 1)
        for want in order:
            machine.tell(Wanted(1, want))  # type: ignore[arg-type]
        assert machine.end(1) == [Finish(1, "killed")]


def test_stopping_a_search_with_nothing_in_flight_ends_it() -> None:
    machine = Machine()
    machine.open(1, 1, limit=1, num_runs=9, adaptive=True, metric="acc")
    machine.search(1).paused = True
    assert machine.end(1) == []
    assert machine.tell(Wanted(1, "stop")) == [Finish(1, "stopped")]


def test_a_run_that_is_lost_after_a_stop_does_not_ring_again() -> None:
    machine = Machine()
    machine.open(1, 1)
    machine.claim(1)
    machine.tell(Wanted(1, "stop"))
    assert machine.tell(Requeued(1, 2)) == []


def test_a_stop_during_a_suggestion_waits_for_its_answer() -> None:
    machine = Machine()
    machine.open(1, 1, limit=1, num_runs=9, adaptive=True)
    assert machine.end(1) == [Ask(1)]
    assert machine.tell(Wanted(1, "stop")) == [], "the run that is being stored must not be orphaned"
    assert machine.create(1) == []
    assert machine.tell(RunEnded(2, "killed")) == [Finish(1, "stopped")]


# --- the missing metric ---------------------------------------------------------------------------


def test_three_runs_without_the_metric_pause_a_search() -> None:
    machine = Machine()
    machine.open(1, 20, metric="acc")
    assert not any(isinstance(one, Pause) for one in machine.end(1, False) + machine.end(2, False))
    assert machine.end(3, False) == [Pause(1)]
    assert rung(machine.end(4, False)) == []
    assert machine.tell(SlotsChanged("k80", 20)) == []


def test_one_run_with_the_metric_is_enough_to_go_on() -> None:
    machine = Machine()
    machine.open(1, 20, metric="acc")
    for run_id in range(1, RUNS_WITHOUT_METRIC):
        machine.end(run_id, False)
    machine.end(10, True)
    for run_id in range(3, 9):
        assert not any(isinstance(one, Pause) for one in machine.end(run_id, False))


def test_a_bayesian_search_that_is_paused_asks_for_nothing_until_it_is_resumed() -> None:
    machine = Machine()
    machine.open(1, 3, limit=3, num_runs=20, adaptive=True, metric="acc")
    machine.search(1).without_metric = 2
    assert machine.end(1, False) == [Pause(1)]
    assert machine.end(2, False) == []
    assert machine.tell(Resumed(1)) == [Ask(1)]
    assert machine.end(3, True) == []
    assert machine.create(1)[0] == Ask(1)


def test_a_resumed_search_rings_again_and_has_three_more_runs_to_send_it() -> None:
    machine = Machine(slots=1)
    machine.open(1, 20, metric="acc")
    for run_id in (1, 2, 3):
        machine.end(run_id, False)
    assert machine.search(1).paused
    assert rung(machine.tell(Resumed(1))) != []
    assert not any(isinstance(one, Pause) for one in machine.end(4, False) + machine.end(5, False))
    assert Pause(1) in machine.end(6, False)


def test_a_search_that_ends_without_its_metric_is_finished_not_paused() -> None:
    machine = Machine()
    machine.open(1, 3, metric="acc")
    machine.end(1, False)
    machine.end(2, False)
    assert machine.end(3, False) == [Finish(1, "finished")]


def test_stopped_runs_say_nothing_about_the_metric() -> None:
    machine = Machine()
    machine.open(1, 20, metric="acc")
    for run_id in range(1, 10):
        assert not any(isinstance(one, Pause) for one in machine.end(run_id, None))


# --- losses ---------------------------------------------------------------------------------------


def test_a_lost_run_goes_first() -> None:
    machine = Machine(slots=1)
    machine.open(1, 20)
    machine.claim(1)
    assert rung(machine.tell(Requeued(1, 2))) == [], "the window is full"
    assert machine.claim(2) == [Ring(1, 2, "k80")]


def test_lost_doorbells_ring_again_in_their_order_under_their_new_tokens() -> None:
    machine = Machine(slots=1)
    machine.open(1, 20)
    renewed = machine.tell(TokensRenewed({3: 2, 1: 2, 2: 2}))
    assert renewed == [Ring(1, 2, "k80"), Ring(2, 2, "k80"), Ring(3, 2, "k80")]


def test_a_doorbell_that_was_answered_meanwhile_is_not_renewed() -> None:
    machine = Machine(slots=1)
    machine.open(1, 20)
    machine.claim(2)
    assert rung(machine.tell(TokensRenewed({2: 2}))) == []
    assert machine.search(1).held == {2}


# --- told twice, told late ------------------------------------------------------------------------


def snapshot(machine: Machine) -> str:
    """Return the state as text, but for the turn counter and events' sets in one order."""
    searches = {
        one.id: [repr(part) for part in (one.waiting, sorted(one.rung), sorted(one.held), one.tokens)]
        + [one.created, one.final, one.with_metric, one.without_metric, one.asking]
        + [one.exhausted, one.paused, one.want]
        for one in machine.state.searches.values()
    }
    return repr((searches, {name: (one.slots, one.rung) for name, one in machine.state.queues.items()}))


def middle() -> Machine:
    """Return a machine in the middle of everything."""
    machine = Machine(slots=2)
    machine.open(1, 3, limit=3, num_runs=9, adaptive=True, metric="acc")
    machine.open(2, 30)
    machine.claim(1)
    machine.claim(2)
    return machine


EVENTS: list[Event] = [
    Claimed(3, 1),
    RunEnded(1, "complete", True),
    RunEnded(2, "complete", False),
    RunEnded(3, "killed"),
    Requeued(1, 2),
    TokensRenewed({3: 2}),
    Wanted(1, "stop"),
    Wanted(1, "kill"),
    Resumed(1),
    Exhausted(1),
    SlotsChanged("k80", 5),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_telling_an_event_twice_changes_nothing(event: Event) -> None:
    machine = middle()
    machine.tell(event)
    before = snapshot(machine)
    assert machine.tell(event) == []
    assert snapshot(machine) == before


@pytest.mark.parametrize("first", EVENTS, ids=lambda event: type(event).__name__)
def test_events_about_a_run_that_is_final_change_nothing(first: Event) -> None:
    machine = middle()
    machine.tell(first)
    machine.end(1, True)
    before = snapshot(machine)
    late = [Claimed(1, 1), Claimed(1, 2), Requeued(1, 2), RunEnded(1, "failed", False), TokensRenewed({1: 7})]
    for event in late:
        assert machine.tell(event) == []
    assert snapshot(machine) == before


def test_the_creation_of_a_run_told_twice_counts_once() -> None:
    machine = Machine()
    machine.open(1, 1, limit=1, num_runs=9, adaptive=True)
    machine.end(1)
    created = RunsCreated(1, [(2, 1)])
    assert machine.tell(created) == [Ring(2, 1, "k80")]
    assert machine.tell(created) == []
    assert (machine.search(1).created, machine.search(1).open_runs) == (2, 1)
    machine.claim(2)
    machine.end(2)
    before = machine.search(1).created
    machine.tell(RunsCreated(1, [(3, 1)]))
    assert machine.search(1).created == before + 1


def test_a_search_opened_twice_is_one_search() -> None:
    machine = Machine(slots=1)
    machine.open(1, 9)
    search = machine.search(1)
    assert machine.tell(SearchOpened(search)) == []
    assert machine.state.queue("k80").rung == 3


def test_a_late_claim_of_an_older_attempt_does_not_hide_that_the_run_is_queued_again() -> None:
    machine = Machine(slots=4)
    machine.open(1, 1)
    machine.claim(1)
    assert rung(machine.tell(Requeued(1, 2))) == [1]
    assert machine.claim(1, token=1) == []
    assert machine.search(1).rung == {1}
    machine.claim(1, token=2)
    assert machine.search(1).held == {1}


def test_an_older_loss_told_late_does_not_take_the_run_back() -> None:
    machine = Machine(slots=4)
    machine.open(1, 2)
    machine.claim(1)
    machine.tell(Requeued(1, 3))
    machine.claim(1, token=3)
    assert machine.tell(Requeued(1, 2)) == []
    assert machine.search(1).held == {1}


def test_resuming_a_search_that_is_not_paused_forgives_nothing() -> None:
    machine = Machine()
    machine.open(1, 20, metric="acc")
    machine.end(1, False)
    machine.end(2, False)
    machine.tell(Resumed(1))
    assert Pause(1) in machine.end(3, False)


def test_events_about_what_nobody_knows_are_left_alone() -> None:
    machine = Machine()
    events: list[Event] = [
        Claimed(99, 1),
        RunEnded(99, "complete"),
        Requeued(99, 2),
        TokensRenewed({99: 2}),
        RunsCreated(99, [(1, 1)]),
        Exhausted(99),
        Wanted(99, "kill"),
        Resumed(99),
    ]
    for event in events:
        assert machine.tell(event) == []


def test_something_that_is_no_event_is_refused() -> None:
    with pytest.raises(TypeError, match="no such event"):
        step(State(), "stop")  # type: ignore[arg-type]
