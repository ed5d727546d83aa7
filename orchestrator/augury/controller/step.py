"""The decision: `step(state, event)` takes in one event and says what to do.

No clock, no store, no broker: the loop around it does what it says and tells what came of it. The
simulator in the tests drives it through thousands of searches.
"""

from __future__ import annotations

from functools import singledispatch

from augury.controller.state import (
    RUNS_WITHOUT_METRIC,
    Action,
    Ask,
    Claimed,
    Event,
    Exhausted,
    Finish,
    Pause,
    QueueProgress,
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
from augury.run import stronger


def step(state: State, event: Event) -> list[Action]:
    """Take `event` into `state` and return the actions that follow from it.

    Telling an event twice, or one about a run that is final, changes nothing.
    """
    touched, queues = _apply(event, state)
    actions: list[Action] = []
    for search_id in touched:
        search = state.searches.get(search_id)
        if search is not None:
            actions += _decide(state, search)
            queues.add(search.queue)
    for name in queues:
        actions += _ring(state, state.queue(name), name)
    return actions


# --- taking an event in ---------------------------------------------------------------------------

_Touched = tuple[list[int], set[str]]
"""Searches to decide on and queues to fill."""


@singledispatch
def _apply(event: Event, state: State) -> _Touched:
    raise TypeError(f"no such event: {event!r}")


@_apply.register
def _(event: SearchOpened, state: State) -> _Touched:
    search = event.search
    if search.id in state.searches:
        return [], set()
    state.searches[search.id] = search
    queue = state.queue(search.queue)
    queue.searches[search.id] = search
    queue.rung += len(search.rung)
    for run_id in (*search.waiting, *search.rung, *search.held):
        state.search_of[run_id] = search.id
    return [search.id], set()


@_apply.register
def _(event: RunsCreated, state: State) -> _Touched:
    search = state.searches.get(event.search_id)
    if search is None or not search.asking:
        return [], set()
    search.asking = False
    for run_id, token in event.runs:
        search.created += 1
        search.waiting.append(run_id)
        search.tokens[run_id] = token
        state.search_of[run_id] = search.id
    return [search.id], set()


@_apply.register
def _(event: Exhausted, state: State) -> _Touched:
    search = state.searches.get(event.search_id)
    if search is not None:
        search.asking = False
        search.exhausted = True
    return [event.search_id], set()


@_apply.register
def _(event: Claimed, state: State) -> _Touched:
    search = _search_of(state, event.run_id)
    # A claim under an older token was lost again since: its run is queued once more.
    if search is None or event.run_id in search.held or search.tokens[event.run_id] != event.token:
        return [], set()
    _forget(state, search, event.run_id)
    search.held.add(event.run_id)
    return [], {search.queue}


@_apply.register
def _(event: RunEnded, state: State) -> _Touched:
    search = _search_of(state, event.run_id)
    if search is None:
        return [], set()
    _forget(state, search, event.run_id)
    search.tokens.pop(event.run_id, None)
    del state.search_of[event.run_id]
    search.final += 1
    if event.has_metric is not None:
        search.with_metric += event.has_metric
        search.without_metric += not event.has_metric
    return [search.id], set()


@_apply.register
def _(event: Requeued, state: State) -> _Touched:
    search = _search_of(state, event.run_id)
    if search is None or search.tokens.get(event.run_id, 0) >= event.token:
        return [], set()
    _forget(state, search, event.run_id)
    search.tokens[event.run_id] = event.token
    # In front: it has waited longest.
    search.waiting.appendleft(event.run_id)
    return [search.id], set()


@_apply.register
def _(event: TokensRenewed, state: State) -> _Touched:
    touched: dict[int, None] = {}
    # Each goes in front, so the last comes first: they ring again in their order.
    for run_id, token in sorted(event.tokens.items(), reverse=True):
        search = _search_of(state, run_id)
        if search is None or run_id not in search.rung or search.tokens[run_id] >= token:
            continue
        _forget(state, search, run_id)
        search.tokens[run_id] = token
        search.waiting.appendleft(run_id)
        touched[search.id] = None
    return list(touched), set()


@_apply.register
def _(event: Wanted, state: State) -> _Touched:
    search = state.searches.get(event.search_id)
    if search is None:
        return [], set()
    search.want = stronger(search.want, event.want)
    return [search.id], set()


@_apply.register
def _(event: Resumed, state: State) -> _Touched:
    search = state.searches.get(event.search_id)
    if search is not None and search.paused:
        search.paused = False
        search.without_metric = 0
    return [event.search_id], set()


@_apply.register
def _(event: SlotsChanged, state: State) -> _Touched:
    state.queue(event.queue).slots = event.slots
    return [], {event.queue}


def _search_of(state: State, run_id: int) -> SearchProgress | None:
    return state.searches.get(state.search_of.get(run_id, 0))


def _forget(state: State, search: SearchProgress, run_id: int) -> None:
    """Take a run out of whichever of waiting, rung and held it is in."""
    if run_id in search.rung:
        search.rung.discard(run_id)
        state.queue(search.queue).rung -= 1
    elif run_id in search.held:
        search.held.discard(run_id)
    elif run_id in search.waiting:
        search.waiting.remove(run_id)


# --- deciding -------------------------------------------------------------------------------------


def _decide(state: State, search: SearchProgress) -> list[Action]:
    """Say what a search needs after something about it has changed."""
    complete = search.created >= search.num_runs or search.exhausted
    if search.open_runs == 0 and not search.asking and (search.want or complete):
        return [_finish(state, search)]
    if _misses_its_metric(search):
        search.paused = True
        return [Pause(search.id)]
    if (
        search.adaptive
        and not (search.asking or complete or search.want or search.paused)
        and _has_room(search)
    ):
        search.asking = True
        return [Ask(search.id)]
    return []


def _has_room(search: SearchProgress) -> bool:
    return search.limit is None or search.open_runs < search.limit


def _misses_its_metric(search: SearchProgress) -> bool:
    missing = search.with_metric == 0 and search.without_metric >= RUNS_WITHOUT_METRIC
    return missing and not search.paused and not search.want


def _finish(state: State, search: SearchProgress) -> Finish:
    del state.searches[search.id]
    state.queue(search.queue).searches.pop(search.id, None)
    if search.want:
        return Finish(search.id, "killed" if search.want == "kill" else "stopped")
    return Finish(search.id, "finished", exhausted=search.exhausted and search.created < search.num_runs)


def _ring(state: State, queue: QueueProgress, name: str) -> list[Action]:
    """Fill the window of a queue: the search with the fewest runs in flight comes next.

    Among equals it is the one that was served longest ago, so equal searches alternate, and a small
    one behind a large one catches up at once.
    """
    actions: list[Action] = []
    while queue.rung < queue.window:
        ready = [search for search in queue.searches.values() if _may_ring(search)]
        if not ready:
            break
        search = min(ready, key=lambda one: (one.in_flight, one.served))
        run_id = search.waiting.popleft()
        search.rung.add(run_id)
        queue.rung += 1
        state.turn += 1
        search.served = state.turn
        actions.append(Ring(run_id, search.tokens[run_id], name))
    return actions


def _may_ring(search: SearchProgress) -> bool:
    capped = search.limit is not None and search.in_flight >= search.limit
    return bool(search.waiting) and not (search.paused or search.want or capped)
