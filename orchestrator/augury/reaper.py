"""Once a second: what is in Redis is compared with the store and mended, what fell silent is taken back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from augury.controller.loop import Controller
from augury.dispatch import orders
from augury.dispatch.answers import AttemptState
from augury.dispatch.broker import BROKER_FAILURES, Beat, Broker
from augury.ingest.loop import Ingest
from augury.ingest.roster import Roster
from augury.store import runs, searches
from augury.store.database import FAILURES, Connection, Store
from augury.store.records import RunRecord

LOST_AFTER_SECONDS = 1800.0
"""An attempt that is silent for so long is lost. Not on the local instance: there a lock tells who lives."""

_TICK_SECONDS = 1.0
_EMPTY_SECONDS = 2.0
_log = logging.getLogger(__name__)


@dataclass
class _Heard:
    """A count of an attempt that should grow, and when it was first seen so (monotonic seconds)."""

    token: int
    count: int
    at: float


class Reaper:
    """The thread that mends and reaps."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        controller: Controller,
        ingest: Ingest,
        roster: Roster,
        *,
        lost_after: float | None,
        tell_workers: Callable[[], None],
    ) -> None:
        self._store = store
        self._broker = broker
        self._controller = controller
        self._ingest = ingest
        self._roster = roster
        self._lost_after = lost_after
        self._tell_workers = tell_workers
        self._patience: dict[int, float] = {}
        """By search; read once, a request never changes."""
        self._heard: dict[int, _Heard] = {}
        self._behind: dict[int, _Heard] = {}
        """Attempts of which reports are missing, with the last one taken in, since when."""
        self._empty_since: dict[str, float] = {}
        self._led = False
        self._redis_run_id = ""
        self._up_since = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="reaper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                self.tick(now)
            except BROKER_FAILURES as error:
                _log.warning("the broker does not answer: %s", error)
                self._redis_run_id = ""
            except FAILURES as error:
                _log.warning("the store does not answer: %s", error)
            except Exception:  # noqa: BLE001 - the thread must live on; it looks again in a second
                _log.exception("a look around failed")
            self._stopping.wait(_TICK_SECONDS)

    def tick(self, now: float) -> None:
        """Look around once; `now` is in monotonic seconds."""
        self._roster.expire(now)
        self._broker.lead(insist=not self._led)
        self._led = True
        run_id = self._broker.run_id()
        if run_id != self._redis_run_id:
            # Another Redis process: it may have lost reports, so everybody sends again.
            self._up_since = now
            renew_all = self._redis_run_id != ""
            self._redis_run_id = run_id
        else:
            renew_all = False
        self._tell_workers()
        self._attempts(now, renew_all)
        self._find_lost_doorbells(now)

    def _attempts(self, now: float, renew_all: bool) -> None:
        with self._store.read() as connection:
            held = runs.held(connection)
            patience = self._patience_with(connection, {run.search_id for run, _ in held})
        beats = self._broker.beats([run.id for run, _ in held])
        drained = self._broker.pending_reports() == 0
        rewrite = []
        wake = []
        for (run, attempt), beat in zip(held, beats, strict=True):
            if self._lost_after is not None and self._reap(run, beat, now, patience[run.search_id]):
                continue
            ack = max(attempt.ack, self._ingest.acknowledged(run))
            missing = beat is not None and self._misses(run, ack, beat.sent, drained, now)
            if missing or renew_all or not _agrees(run, beat):
                gen = self._ingest.new_generation()
                rewrite.append(AttemptState(run.id, run.token, run.nonce, run.want, ack, gen))
            if run.want:
                wake.append((run.id, run.nonce, run.want))
        answers = self._broker.answers()
        answers.write_attempts(rewrite)
        answers.wake(wake)
        answers.send()
        self._heard = {run.id: self._heard[run.id] for run, _ in held if run.id in self._heard}
        self._behind = {run.id: self._behind[run.id] for run, _ in held if run.id in self._behind}

    def _patience_with(self, connection: Connection, search_ids: set[int]) -> dict[int, float]:
        """Return after how many seconds silent attempts of these searches are given up."""
        if self._lost_after is not None:
            self._patience = {
                one: self._patience[one]
                if one in self._patience
                else orders.patience(searches.get(connection, one), self._lost_after) or 0.0
                for one in search_ids
            }
        return self._patience

    def _misses(self, run: RunRecord, ack: int, sent: int, drained: bool, now: float) -> bool:
        """Tell whether reports of an attempt were lost in Redis: sent, not there, not taken in for 2 s."""
        if sent <= ack or not drained:
            self._behind.pop(run.id, None)
            return False
        known = self._behind.get(run.id)
        same = known is not None and (known.token, known.count) == (run.token, ack)
        if known is not None and same and now - known.at < _EMPTY_SECONDS:
            return False
        self._behind[run.id] = _Heard(run.token, ack, now)
        return same

    def _reap(self, run: RunRecord, beat: Beat | None, now: float, lost_after: float) -> bool:
        """Take the run of a silent attempt away; tell whether that was done."""
        count = beat.beat if beat is not None else 0
        heard = self._heard.get(run.id)
        if heard is None or (heard.token, heard.count) != (run.token, count) or beat is None:
            self._heard[run.id] = _Heard(run.token, count, now)
            return False
        silent = now - max(heard.at, self._up_since)
        if silent <= lost_after or not self._broker.reap(run.id, count, run.token):
            return False
        self._ingest.lose(run, f"worker {run.worker} was silent for {silent:.0f} s")
        return True

    def _find_lost_doorbells(self, now: float) -> None:
        """Ring anew where doorbells are unclaimed although their queue has been empty for 2 s."""
        rung = self._controller.rung()
        self._empty_since = {queue: since for queue, since in self._empty_since.items() if queue in rung}
        for queue in rung:
            if not self._broker.is_empty(queue) or self._broker.pending_reports():
                self._empty_since.pop(queue, None)
                continue
            since = self._empty_since.setdefault(queue, now)
            if now - since >= _EMPTY_SECONDS:
                del self._empty_since[queue]
                self._controller.doorbells_lost(queue)


def _agrees(run: RunRecord, beat: Beat | None) -> bool:
    return beat is not None and (beat.token, beat.nonce, beat.want) == (run.token, run.nonce, run.want)
