"""The thread around `step`: it carries actions out and takes the commands of users.

It is crash-only: when an effect fails, everything it knows is read from the store again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from augury.controller.metric_names import explain_missing
from augury.controller.restoring import LEARNS_FROM, Learning, learning_of, restore
from augury.controller.state import (
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
from augury.controller.submission import Plan
from augury.dispatch.broker import BROKER_FAILURES, Broker
from augury.dispatch.doorbells import Doorbell, Doorbells
from augury.errors import NotFoundError, RefusedError, UsageError
from augury.run import Want
from augury.store import points, runs, searches
from augury.store.database import FAILURES, Connection, Store
from augury.store.records import RunRecord

T = TypeVar("T")
_RELOAD_AFTER_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """What became of the runs that a user asked to stop or kill."""

    stopped: list[int]
    killed: list[int]
    final: list[int]


class Controller:
    """Keeps every open search going. Its methods may be called from any thread."""

    def __init__(self, store: Store, broker: Broker, doorbells: Doorbells) -> None:
        self._store = store
        self._broker = broker
        self._doorbells = doorbells
        self._state = State()
        self._learning: dict[int, Learning] = {}
        self._slots: dict[str, int] = {}
        self._mailbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="controller", daemon=True)

    def start(self) -> None:
        """Read the open searches and start the thread."""
        self._mailbox.put(self._reload)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what is queued."""
        self._mailbox.put(None)
        self._thread.join()

    # --- what has happened (from ingest and reaper) ---

    def took_in(
        self,
        claimed: Sequence[RunRecord],
        ended: Sequence[tuple[RunRecord, bool | None]],
        requeued: Sequence[RunRecord],
    ) -> None:
        """Attempts hold runs, runs are final (with or without their metric), lost runs are queued again."""
        if claimed or ended or requeued:
            self._mailbox.put(lambda: self._took_in(claimed, ended, requeued))

    def slots_changed(self, queue_name: str, slots: int) -> None:
        """So many slots serve a queue."""
        self._mailbox.put(lambda: self._slots_changed(queue_name, slots))

    def doorbells_lost(self, queue_name: str) -> None:
        """The doorbells of a queue are gone without a claim: ring them anew under new tokens."""
        self._mailbox.put(lambda: self._renew(queue_name))

    def missed(self) -> None:
        """Something may have happened that is not told: read everything from the store again."""
        self._mailbox.put(self._reload)

    def rung(self) -> dict[str, int]:
        """Return the number of unclaimed doorbells by queue, as a snapshot."""
        return {name: one.rung for name, one in list(self._state.queues.items()) if one.rung}

    # --- what users ask for ---

    def submit(
        self, plan: Plan, *, owner: str, environment: str | None, queue_name: str, notices: Sequence[str]
    ) -> int:
        """Store a search with its first runs and start it; return its id."""
        return self._call(lambda: self._submit(plan, owner, environment, queue_name, notices))

    def end_search(self, search_id: int, want: Want) -> Ending:
        """Stop or kill a search: no further runs, and those under way end."""
        return self._call(lambda: self._end_search(search_id, want))

    def end_runs(self, search_id: int, run_ids: Collection[int], want: Want) -> Ending:
        """Stop or kill some runs of one search; the search goes on."""
        return self._call(lambda: self._end_runs(search_id, run_ids, want))

    def resume(self, search_id: int) -> None:
        """Let a paused search go on."""
        self._call(lambda: self._resume(search_id))

    def _call(self, work: Callable[[], T]) -> T:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except (UsageError, RefusedError, NotFoundError) as error:
                future.set_exception(error)
            except Exception as error:
                # How much of it was done is unknown: the thread reads everything again.
                future.set_exception(error)
                raise

        self._mailbox.put(run)
        return future.result()

    # --- the thread ---

    def _loop(self) -> None:
        while (work := self._mailbox.get()) is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the thread must live on; the store knows everything
                if isinstance(error, FAILURES):
                    _log.warning("the store does not answer the controller: %s", error)
                else:
                    _log.exception("the controller failed; reading everything from the store again")
                time.sleep(_RELOAD_AFTER_SECONDS)
                self._mailbox.put(self._reload)

    def _take(self, *batch: Event) -> None:
        """Take events in and carry out what follows, in turn."""
        todo: deque[Action] = deque()
        for event in batch:
            todo.extend(step(self._state, event))
        while todo:
            rings: list[Doorbell] = []
            while todo and isinstance(todo[0], Ring):
                ring = todo.popleft()
                assert isinstance(ring, Ring)
                rings.append(Doorbell(ring.run_id, ring.token, ring.queue))
            if rings:
                self._publish(rings)
            if todo:
                todo.extend(self._carry_out(todo.popleft()))

    def _carry_out(self, action: Action) -> list[Action]:
        if isinstance(action, Ask):
            return self._ask(action.search_id)
        if isinstance(action, Finish):
            self._finish(action)
        elif isinstance(action, Pause):
            self._pause(action.search_id)
        return []

    def _publish(self, doorbells: Sequence[Doorbell]) -> None:
        try:
            self._doorbells.publish(doorbells)
        except BROKER_FAILURES as error:
            # They count as lost: the reaper finds the queue empty and they ring again.
            _log.warning("%d doorbells could not be published: %s", len(doorbells), error)

    def _ask(self, search_id: int) -> list[Action]:
        search, learning = self._state.searches[search_id], self._learning[search_id]
        assignment, memo = learning.sampling.suggest(
            learning.observations, list(learning.pending.values()), search.created, learning.memo
        )
        if assignment is None:
            return step(self._state, Exhausted(search_id))
        position, now = search.created, time.time()
        run_id = self._store.writer.call(
            lambda c: searches.add_runs(c, now, search_id, position, [assignment], memo)
        )
        learning.memo = memo
        learning.pending[run_id] = learning.sampling.values_of(assignment)
        return step(self._state, RunsCreated(search_id, [(run_id, 1)]))

    def _finish(self, action: Finish) -> None:
        self._learning.pop(action.search_id, None)
        notice = (
            "every point of the space was tried before --num-runs was reached" if action.exhausted else None
        )
        if action.state == "finished" and notice is None:
            notice = self._missing_metric(action.search_id)
        now = time.time()
        self._store.writer.call(
            lambda c: searches.change_state(c, now, action.search_id, action.state, notice=notice)
        )

    def _missing_metric(self, search_id: int) -> str | None:
        """Return why no run has the metric of its search, None where one has or none was asked for."""
        with self._store.read() as connection:
            search = searches.get(connection, search_id)
            if search.spec.metric is None or points.reported(connection, search_id, search.spec.metric):
                return None
            seen = points.names(connection, search_id=search_id)
            failed = [run.id for run in runs.of_search(connection, search_id) if run.state == "failed"]
        return explain_missing(search.spec.metric, seen, failed)

    def _pause(self, search_id: int) -> None:
        reason = self._missing_metric(search_id)
        now = time.time()
        self._store.writer.call(
            lambda c: searches.change_state(c, now, search_id, "paused", pause_reason=reason)
        )

    def _took_in(
        self,
        claimed: Sequence[RunRecord],
        ended: Sequence[tuple[RunRecord, bool | None]],
        requeued: Sequence[RunRecord],
    ) -> None:
        for run, _ in ended:
            self._learn(run)
        self._take(
            *[Claimed(run.id, run.token) for run in claimed],
            *[RunEnded(run.id, run.state, has_metric) for run, has_metric in ended],
            *[Requeued(run.id, run.token) for run in requeued],
        )

    def _learn(self, run: RunRecord) -> None:
        learning = self._learning.get(run.search_id)
        if learning is not None and run.id in learning.pending:
            del learning.pending[run.id]
            if run.state in LEARNS_FROM:
                learning.observations.append(learning.sampling.observation(run))

    def _slots_changed(self, queue_name: str, slots: int) -> None:
        self._slots[queue_name] = slots
        self._take(SlotsChanged(queue_name, slots))

    def _renew(self, queue_name: str) -> None:
        lost = [run for one in self._state.queue(queue_name).searches.values() for run in one.rung]
        if lost:
            self._take(TokensRenewed(self._store.writer.call(lambda c: runs.renew_tokens(c, lost))))

    # --- commands ---

    def _submit(
        self, plan: Plan, owner: str, environment: str | None, queue_name: str, notices: Sequence[str]
    ) -> int:
        now, spec_text = time.time(), plan.spec_text()

        def work(connection: Connection) -> tuple[int, int]:
            search_id = searches.insert_search(
                connection,
                now,
                kind=plan.spec.kind,
                spec_text=spec_text,
                environment=environment,
                queue=queue_name,
                owner=owner,
                notices=notices,
            )
            return search_id, searches.add_runs(connection, now, search_id, 0, plan.assignments, plan.memo)

        search_id, first = self._store.writer.call(work)
        ids = range(first, first + len(plan.assignments))
        learning = learning_of(plan.sampling)
        if learning is not None:
            learning.memo = plan.memo
            for run_id, assignment in zip(ids, plan.assignments, strict=True):
                learning.pending[run_id] = learning.sampling.values_of(assignment)
            self._learning[search_id] = learning
        search = _progress(search_id, plan, queue_name, adaptive=learning is not None)
        search.waiting.extend(ids)
        search.tokens.update(dict.fromkeys(ids, 1))
        search.created = len(ids)
        self._take(SearchOpened(search))
        return search_id

    def _end_search(self, search_id: int, want: Want) -> Ending:
        now = time.time()

        def work(connection: Connection) -> tuple[list[int], list[RunRecord], list[int]]:
            searches.raise_want(connection, search_id, want)
            members = runs.of_search(connection, search_id)
            killed = runs.kill_queued(connection, now, search_id)
            held = runs.raise_want(connection, [run.id for run in members if run.id not in set(killed)], want)
            open_ids = {*killed, *(run.id for run in held)}
            return killed, held, [run.id for run in members if run.id not in open_ids]

        killed, held, final = self._store.writer.call(work)
        self._take(Wanted(search_id, want))
        self._after_ending(killed, held)
        return Ending([run.id for run in held], killed, final)

    def _end_runs(self, search_id: int, run_ids: Collection[int], want: Want) -> Ending:
        now = time.time()

        def work(connection: Connection) -> tuple[list[int], list[RunRecord]]:
            killed = runs.kill_queued(connection, now, search_id, run_ids)
            return killed, runs.raise_want(connection, run_ids, want)

        killed, held = self._store.writer.call(work)
        self._after_ending(killed, held)
        touched = {*killed, *(run.id for run in held)}
        return Ending([run.id for run in held], killed, [one for one in run_ids if one not in touched])

    def _after_ending(self, killed: Sequence[int], held: Sequence[RunRecord]) -> None:
        answers = self._broker.answers()
        answers.wake((run.id, run.nonce, run.want) for run in held)
        try:
            answers.send()
        except BROKER_FAILURES as error:
            # The reaper says it again every second.
            _log.warning("%d runs were not told to end: %s", len(held), error)
        for run_id in killed:
            for learning in self._learning.values():
                learning.pending.pop(run_id, None)
            self._take(RunEnded(run_id, "killed"))

    def _resume(self, search_id: int) -> None:
        now = time.time()
        if not self._store.writer.call(lambda c: searches.change_state(c, now, search_id, "running")):
            raise RefusedError(f"search {search_id} is not paused")
        self._take(Resumed(search_id))

    # --- start ---

    def _reload(self) -> None:
        """Forget everything and read the open searches from the store."""
        self._state, self._learning = State(), {}
        for name, slots in self._slots.items():
            self._state.queue(name).slots = slots
        with self._store.read() as connection:
            opened = [restore(connection, search) for search in searches.open_searches(connection)]
        for search, learning in opened:
            if learning is not None:
                self._learning[search.id] = learning
            self._take(SearchOpened(search))


def _progress(search_id: int, plan: Plan, queue_name: str, *, adaptive: bool) -> SearchProgress:
    return SearchProgress(
        search_id,
        queue_name,
        adaptive=adaptive,
        limit=plan.spec.parallel_runs,
        num_runs=plan.num_runs,
        metric=plan.spec.metric,
    )
