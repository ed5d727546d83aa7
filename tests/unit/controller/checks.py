"""What must hold in a simulated instance: while it runs, and when everything has ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from timeline import Violation

from augury.controller import restoring
from augury.controller.sampling import number_of_runs
from augury.run import FINAL_STATES, MAX_LOST_ATTEMPTS
from augury.store import points, runs, searches
from augury.store.records import RunRecord, SearchRecord

if TYPE_CHECKING:
    from server_simulator import Request, World

_NOT_LEARNED = ("stopped", "killed", "interrupted")


def require(holds: bool, message: str) -> None:
    """Raise `Violation` unless it holds."""
    if not holds:
        raise Violation(message)


# --- while it runs --------------------------------------------------------------------------------


def check_memory(world: World) -> None:
    """What the controller remembers equals what a new one would read from the store."""
    server = world.server
    assert server is not None
    with world.store.peek() as connection:
        records = searches.open_searches(connection)
        restored = {record.id: restoring.restore(connection, record) for record in records}
    stored = {search_id: progress for search_id, (progress, _) in restored.items()}
    learnings = {search_id: learning for search_id, (_, learning) in restored.items() if learning}
    known = server.controller._state.searches
    require(set(known) == set(stored), f"searches {sorted(known)} are open, not {sorted(stored)}")
    for search_id, search in stored.items():
        for name in ("created", "final", "held", "tokens", "paused", "want", "with_metric", "limit"):
            here, there = getattr(known[search_id], name), getattr(search, name)
            require(here == there, f"search {search_id} remembers {name} {here}, not {there}")
        queued = {*known[search_id].waiting, *known[search_id].rung}
        require(queued == set(search.waiting), f"search {search_id} remembers other queued runs")
        check_learning(search_id, server.controller._learning, learnings)
    check_pauses(world, known, stored)


def check_pauses(world: World, known: dict[int, Any], stored: dict[int, Any]) -> None:
    """A search is paused for the same number of runs without a metric before and after a restart."""
    for search_id, search in stored.items():
        here, there = known[search_id].without_metric, search.without_metric
        close = search.paused or abs(here - there) <= (1 if search_id in world.resumed else 0)
        require(close, f"search {search_id} remembers without_metric {here}, not {there}")


def check_learning(search_id: int, known: dict[int, Any], stored: dict[int, Any]) -> None:
    """The sampler would be told the same after a restart."""
    require((search_id in known) == (search_id in stored), f"search {search_id} forgot its sampler")
    if search_id in stored:
        for name in ("observations", "pending", "memo"):
            here, there = getattr(known[search_id], name), getattr(stored[search_id], name)
            require(here == there, f"search {search_id} remembers {name} {here}, not {there}")


# --- when it has ended ----------------------------------------------------------------------------


def check_end(world: World) -> None:
    """Every search has the history that it would have had without a fault."""
    with world.store.peek() as connection:
        for request in world.requests:
            record = searches.get(connection, request.id or 0)
            assert record is not None
            members = runs.of_search(connection, record.id)
            check_search(request, record, members)
            for run in members:
                check_run(world, connection, request, run)
            if record.kind == "bayesian":
                check_proposals(world, record, members)
    check_events(world)
    check_nothing_left(world)


def check_nothing_left(world: World) -> None:
    """No key in Redis without an end, no report on the disk of a worker that the server knows of."""
    kept = [run_id for run_id, att in world.redis.attempts.items() if not att.get("expires")]
    require(not kept, f"the hashes of runs {kept} stay in Redis for ever")
    for run_id, attempts in world.attempts.items():
        for attempt in attempts:
            # A broker that was flushed after the end of a run knows nothing of it: that waits for a week.
            waits = not attempt.settled and attempt.verdict != "gone" and (attempt.died or attempt.ended)
            require(not waits, f"an attempt of run {run_id} waits for ever for an answer")


def check_search(request: Request, record: SearchRecord, members: list[RunRecord]) -> None:
    name = f"search {record.id}"
    require([run.position for run in members] == list(range(len(members))), f"{name} has a gap")
    require(record.created_runs == len(members), f"{name}: created_runs is {record.created_runs}")
    require(all(run.state in FINAL_STATES for run in members), f"{name} has ended with open runs")
    allowed = {"": {"finished"}, "stop": {"stopped"}, "kill": {"killed"}}[record.want]
    require(record.state in allowed, f"{name} is {record.state}, wanted was '{record.want}'")
    heard = not request.want or bool(record.want) or record.state == "finished"
    require(heard, f"{name} did not hear that it shall {request.want}")
    if record.state == "finished":
        check_count(request, record, members)
    if record.kind != "bayesian":
        planned = [dict(one.texts) for one in request.plan.assignments]
        require([dict(run.assignment.texts) for run in members] == planned, f"{name} has other values")


def check_count(request: Request, record: SearchRecord, members: list[RunRecord]) -> None:
    total = number_of_runs(record.spec)
    cut = any("every point" in notice for notice in record.notices)
    require(
        cut == (len(members) < total), f"search {record.id}: {len(members)} of {total} runs, {record.notices}"
    )


def check_run(world: World, connection: Any, request: Request, run: RunRecord) -> None:
    """A run that ended by itself has the result of its command, whichever attempt brought it."""
    name = f"run {run.id}"
    tries = runs.attempts_of(connection, run.id)
    require(run.attempts == len(tries), f"{name} counts {run.attempts} attempts, there are {len(tries)}")
    require([one.number for one in tries] == list(range(1, len(tries) + 1)), f"{name}: attempts not in order")
    lost = [one for one in tries if one.state == "lost"]
    require(len(lost) == run.lost, f"{name} was lost {run.lost} times, not {len(lost)}")
    require(run.landed is not None or run.state == "killed", f"{name} has not landed")
    most = MAX_LOST_ATTEMPTS + (run.state in ("interrupted", "killed"))
    require(run.lost <= most, f"{name} was lost {run.lost} times")
    require(run.state != "interrupted" or run.lost == most, f"{name} is interrupted too early")
    if run.state not in ("complete", "failed"):
        return
    require(tries[-1].state == run.state and len(lost) == len(tries) - 1, f"{name} has two results")
    expected = world.outcome_of(request, run.assignment.texts)
    require(run.state == expected.state and run.exit_code == expected.code, f"{name} is {run.state}")
    winner = next(one for one in world.attempts[run.id] if one.identity.nonce == run.nonce)
    if request.plan.spec.metric is not None:
        require(
            run.objective == expected.objective,
            f"{name}: objective {run.objective}, not {expected.objective}",
        )
    stored = [point.value for point in points.series(connection, run.id, run.token, "m")]
    require(repr(stored) == repr(winner.points), f"{name} has points {stored}, sent were {winner.points}")
    output = b"".join(data for _, data in sorted(world.logs.written.get((run.id, run.token), {}).items()))
    require(len(output) == winner.log_bytes, f"{name} has {len(output)} bytes of output")


def check_proposals(world: World, record: SearchRecord, members: list[RunRecord]) -> None:
    """Each suggestion is what the sampler says to the recorded arrivals, of which none is kept from it."""
    asks = world.learner.asks[record.spec.seed or 0]
    text = {run.position: run.assignment.texts["x"] for run in members}
    goal = -1 if record.spec.goal == "minimize" else 1
    landed = sorted((run for run in members if run.landed is not None), key=lambda run: run.landed or 0)
    arrivals = [
        (text[run.position], None if run.objective is None else goal * run.objective)
        for run in landed
        if run.state not in _NOT_LEARNED
    ]
    unlearned = {text[run.position] for run in members if run.state in _NOT_LEARNED}
    for run in members:
        found = [ask for ask in asks if ask.index == run.position and ask.text == text[run.position]]
        require(bool(found), f"run {run.id} has values that were not suggested")
        for ask in found:
            seen = len(ask.observations)
            require(
                ask.observations == arrivals[:seen], f"run {run.id}: told {ask.observations}, not {arrivals}"
            )
            before = {text[position] for position in range(run.position)}
            rest = before - {one for one, _ in ask.observations} - set(ask.pending)
            require(rest <= unlearned, f"run {run.id}: the sampler was not told of {rest}")
            require(set(ask.pending) <= before, f"run {run.id}: told of {ask.pending}")
            asked = ask.memo["asked"] if ask.memo else 0
            require(asked == run.position, f"run {run.id}: the memo is that of run {asked}")


def check_events(world: World) -> None:
    """Every run became final exactly once, and every search ended exactly once."""
    ends: dict[tuple[int, int | None], int] = {}
    for row in world.store.rows("SELECT search_id, run_id, kind, data FROM events"):
        data = json.loads(row.data)
        over = data.get("state") in FINAL_STATES or data.get("state") == "finished"
        if row.kind in ("run", "search") and over:
            key = (row.search_id, row.run_id)
            ends[key] = ends.get(key, 0) + 1
    twice = [key for key, count in ends.items() if count > 1]
    require(not twice, f"final twice: {twice}")
