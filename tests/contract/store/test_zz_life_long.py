"""The life of runs under actors that come late, come twice and do not know of each other, beside a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection

from augury.errors import RefusedError
from augury.run import FINAL_STATES, HELD_STATES, MAX_LOST_ATTEMPTS, OPEN_STATES, Ended, Want, stronger
from augury.store import events, points, runs, searches
from augury.store.points import PointRow
from augury.store.records import RunRecord
from augury.store.runs import Output
from tests.contract.store.databases import NOW, Database, assignments, insert_search


@dataclass
class ModelRun:
    """What a run must be like."""

    id: int
    state: str = "queued"
    want: Want = ""
    token: int = 1
    nonce: str = ""
    attempts: int = 0
    lost: int = 0
    cause: str | None = None
    objective: float | None = None
    ended_by: dict[int, str] = field(default_factory=dict)
    """State of each attempt by its token."""
    points: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    """Values by (token, report)."""

    def held_by(self, record: RunRecord) -> bool:
        return self.state in HELD_STATES and (self.token, self.nonce) == (record.token, record.nonce)

    def values(self, token: int) -> list[float]:
        return [value for key in sorted(self.points) if key[0] == token for value in self.points[key]]

    def shown(self) -> tuple[Any, ...]:
        return (
            self.id,
            self.state,
            self.want,
            self.token,
            self.nonce,
            self.attempts,
            self.lost,
            self.cause,
            self.objective,
        )


def shown(run: RunRecord) -> tuple[Any, ...]:
    return (
        run.id,
        run.state,
        run.want,
        run.token,
        run.nonce,
        run.attempts,
        run.lost,
        run.cause,
        run.objective,
    )


# A negative zero comes back as zero.
values = st.floats(-9, 9, width=16).map(lambda value: value + 0.0) | st.sampled_from([math.nan, math.inf])
picks = st.lists(st.integers(0, 11), max_size=5)


class RunLife(RuleBasedStateMachine):
    """One search; all that is done to its runs is done to a model too."""

    records = Bundle("records")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.store = database.stores[-1]
        self.now = NOW
        self.model: list[ModelRun] = []
        self.told: list[tuple[int | None, str, str]] = []
        self.landed: list[int] = []
        self.nonces = 0
        self.open = True
        self.servers = 1

    def call(self, work: Any) -> Any:
        self.now += 1
        return self.store.writer.call(work)

    def pick(self, places: list[int]) -> list[ModelRun]:
        return [self.model[place] for place in sorted(set(places)) if place < len(self.model)]

    @initialize(count=st.integers(1, 6))
    def submit(self, count: int) -> None:
        def work(connection: Connection) -> tuple[int, int]:
            search_id = insert_search(connection)
            return search_id, searches.add_runs(connection, NOW, search_id, 0, assignments(count), None)

        with self.store.read() as connection:
            self.last_event = events.newest(connection)
        self.search_id, first = self.call(work)
        self.model = [ModelRun(first + offset) for offset in range(count)]
        self.told = [(None, "search", "running"), (None, "runs", "queued")]

    @precondition(lambda self: len(self.model) < 12)
    @rule(count=st.integers(1, 3))
    def suggest(self, count: int) -> None:
        place = len(self.model)
        first = self.call(
            lambda c: searches.add_runs(c, NOW, self.search_id, place, assignments(count, place), None)
        )
        self.model += [ModelRun(first + offset) for offset in range(count)]
        self.told.append((None, "runs", "queued"))

    @rule(target=records, place=st.integers(0, 11), late=st.sampled_from([0, 0, 0, 0, -1, 1]))
    def claim(self, place: int, late: int) -> RunRecord:
        run = self.model[place % len(self.model)]
        token = run.token + late
        self.nonces += 1
        nonce = f"nonce {self.nonces}"
        given = self.call(lambda c: runs.claim(c, self.now, run.id, token, nonce, "w"))
        if run.state == "queued" and not run.want and late == 0:
            run.state, run.nonce = "running", nonce
            run.attempts += 1
            run.ended_by[token] = "running"
            self.told.append((run.id, "run", "running"))
            assert given is not None
            assert shown(given) == run.shown()
            return given
        assert given is None
        return self.look(run.id)

    @rule(target=records, place=st.integers(0, 11))
    def remember(self, place: int) -> RunRecord:
        """Somebody reads a run and acts on it later."""
        return self.look(self.model[place % len(self.model)].id)

    def look(self, run_id: int) -> RunRecord:
        with self.store.read() as connection:
            run = runs.get(connection, run_id)
        assert run is not None
        return run

    def of(self, record: RunRecord) -> ModelRun:
        return next(run for run in self.model if run.id == record.id)

    @rule(record=records, s=st.integers(1, 4), found=st.lists(values, min_size=1, max_size=3))
    def report(self, record: RunRecord, s: int, found: list[float]) -> None:
        """Points of an attempt, now or after it was lost, once or again."""
        rows = [
            PointRow(record.id, record.token, s, i, "m", i, None if math.isnan(value) else value, NOW)
            for i, value in enumerate(found)
        ]
        self.call(lambda c: points.insert_all(c, rows))
        stored = self.of(record).points.setdefault((record.token, s), [])
        stored += found[len(stored) :]

    @rule(record=records, state=st.sampled_from(FINAL_STATES))
    def finish(self, record: RunRecord, state: Any) -> None:
        run = self.of(record)
        ended = Ended(state, "exit", 0)

        def work(connection: Connection) -> tuple[float | None, RunRecord | None]:
            objective, _ = points.objective(connection, record.id, record.token, "m", "max")
            after = runs.finish(connection, self.now, record, ended, objective, Output(1, 0, 0))
            return objective, after

        objective, after = self.call(work)
        finite = [value for value in run.values(record.token) if math.isfinite(value)]
        assert objective == max(finite, default=None)
        if not run.held_by(record):
            assert after is None
            return
        run.state, run.cause, run.objective = state, "exit", objective
        run.ended_by[record.token] = state
        self.landed.append(run.id)
        self.told.append((run.id, "run", state))
        assert shown(after) == run.shown()

    @rule(record=records)
    def lose(self, record: RunRecord) -> None:
        run = self.of(record)
        after = self.call(lambda c: runs.lose(c, self.now, record, "gone"))
        if not run.held_by(record):
            assert after is None
            return
        run.ended_by[record.token] = "lost"
        if run.want:
            run.state, run.cause = "killed", "killed"
        elif run.lost >= MAX_LOST_ATTEMPTS:
            run.state, run.cause = "interrupted", "lost"
        else:
            run.state = "queued"
        run.token, run.nonce, run.lost = run.token + 1, "", run.lost + 1
        if run.state in FINAL_STATES:
            self.landed.append(run.id)
        self.told.append((run.id, "run", run.state))
        assert shown(after) == run.shown()

    @rule(places=picks, want=st.sampled_from(["", "stop", "kill"]))
    def wish(self, places: list[int], want: Want) -> None:
        chosen = self.pick(places)
        held = self.call(lambda c: runs.raise_want(c, [run.id for run in chosen], want))
        expected = [run for run in chosen if run.state in HELD_STATES]
        for run in expected:
            run.want = stronger(run.want, want)
        assert [shown(run) for run in held] == [run.shown() for run in expected]

    @rule(places=st.none() | picks)
    def kill_queued(self, places: list[int] | None) -> None:
        chosen = self.model if places is None else self.pick(places)
        ids = None if places is None else [run.id for run in chosen]
        killed = self.call(lambda c: runs.kill_queued(c, self.now, self.search_id, ids))
        expected = [run for run in chosen if run.state == "queued"]
        assert killed == [run.id for run in expected]
        for run in expected:
            run.state, run.want, run.cause = "killed", "kill", "killed"
            run.token += 1
            if places is not None:
                self.told.append((run.id, "run", "killed"))
        if places is None:
            starts = [run_id for run_id in killed if run_id - 1 not in killed]
            self.told += [(None, "runs", "killed")] * len(starts)

    @rule(places=picks)
    def renew(self, places: list[int]) -> None:
        chosen = self.pick(places)
        tokens = self.call(lambda c: runs.renew_tokens(c, [run.id for run in chosen]))
        expected = [run for run in chosen if run.state == "queued"]
        for run in expected:
            run.token += 1
        assert tokens == {run.id: run.token for run in expected}

    @rule(record=records)
    def fail_in_the_middle(self, record: RunRecord) -> None:
        """A closure that does much and then fails has done nothing."""

        def work(connection: Connection) -> None:
            runs.finish(connection, self.now, record, Ended("failed", "exit", 1), 5.0, Output(1, 1, 1))
            runs.claim(connection, self.now, record.id, record.token, "x", "x")
            runs.kill_queued(connection, self.now, self.search_id)
            searches.change_state(connection, self.now, self.search_id, "killed")
            raise InterruptedError

        with pytest.raises(InterruptedError):
            self.call(work)

    @precondition(lambda self: self.open)
    @rule(state=st.sampled_from(["finished", "stopped"]))
    def end_search(self, state: Any) -> None:
        assert self.call(lambda c: searches.change_state(c, self.now, self.search_id, state))
        self.told.append((None, "search", state))
        self.open = False

    @precondition(lambda self: self.servers < 3)
    @rule(record=records)
    def another_server(self, record: RunRecord) -> None:
        """A second one takes over; the first does not know yet and does harm to nobody."""
        self.servers += 1
        former = self.store
        self.store = self.database.open()
        with pytest.raises(RefusedError, match="taken over"):
            former.writer.call(lambda c: runs.lose(c, self.now, record, "late"))
        former.close()
        self.database.stores.remove(former)

    @invariant()
    def runs_are_as_they_must_be(self) -> None:
        with self.store.read() as connection:
            found = runs.of_search(connection, self.search_id)
            rows = events.after(connection, self.last_event)
        assert [shown(run) for run in found] == [run.shown() for run in self.model]
        for run in found:
            assert (run.ended_at is not None) == (run.state in FINAL_STATES)
            assert (run.worker is not None) == (run.state in HELD_STATES or run.nonce != "")
        assert [(one.run_id, one.kind, one.data["state"]) for one in rows] == self.told

    def teardown(self) -> None:
        if not self.model:
            return
        with self.store.read() as connection:
            landed = searches.landed_runs(connection, self.search_id)
            counted = searches.counts(connection, [self.search_id])[self.search_id]
            tokens = runs.open_tokens(connection, self.search_id)
            held = [run.id for run, _ in runs.held(connection) if run.search_id == self.search_id]
            part = points.page(connection, search_id=self.search_id, limit=5)
            shown_points = list(part)
            while part:
                after = part[-1].cursor
                part = points.page(connection, search_id=self.search_id, after=after, limit=5)
                shown_points += part
            attempts = {
                run.id: {one.token: one.state for one in runs.attempts_of(connection, run.id)}
                for run in self.model
            }
        assert [run.id for run in landed] == self.landed
        states = [run.state for run in self.model]
        assert counted == {state: states.count(state) for state in set(states)}
        assert tokens == [(run.id, run.token, run.state) for run in self.model if run.state in OPEN_STATES]
        assert sorted(held) == [run.id for run in self.model if run.state in HELD_STATES]
        assert attempts == {run.id: run.ended_by for run in self.model}
        expected = [(run.id, value) for run in self.model for value in run.values(run.token)]
        assert repr([(one.run_id, one.point.value) for one in shown_points]) == repr(expected)


def test_runs_live_as_the_model_says(database: Database) -> None:
    database.open()
    run_state_machine_as_test(
        lambda: RunLife(database),
        settings=settings(
            max_examples=500 if database.kind == "sqlite" else 150,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
