"""The thread that takes reports in: read, commit, answer, in this order.

Reports are removed from the stream only after their commit, so whatever dies in between they are
read again; taking one in twice changes nothing.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import redis

from augury.controller.loop import Controller
from augury.dispatch import orders
from augury.dispatch.broker import AttemptState, Broker
from augury.ingest.intake import Intake, OpenAttempt, Outcome
from augury.ingest.messages import Hello, Message, parse
from augury.logs import LogFiles
from augury.store.database import Connection, Store
from augury.store.records import RunRecord, SearchRecord

_READ_AT_MOST = 1000
_BLOCK_MS = 1000
_log = logging.getLogger(__name__)


class Ingest:
    """Owns the report stream of an instance."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        controller: Controller,
        logs: LogFiles,
        *,
        instance: str,
        environments: Path | None,
        on_hello: Callable[[Hello], None],
        on_told: Callable[[dict[int, tuple[int, set[str]]]], None],
    ) -> None:
        self._store = store
        self._broker = broker
        self._controller = controller
        self._logs = logs
        self._instance = instance
        self._environments = environments
        self._on_hello = on_hello
        self._on_told = on_told
        self._attempts: dict[int, OpenAttempt] = {}
        self._requests: dict[int, SearchRecord] = {}
        self._generations = itertools.count(1)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="ingest", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the batch at hand."""
        self._stopping.set()
        self._thread.join()

    def new_generation(self) -> str:
        """Return a fresh `gen`: an attempt that sees it sends again what is not acknowledged."""
        return f"{self._store.epoch}.{next(self._generations)}"

    def acknowledged(self, run: RunRecord) -> int:
        """Return the last report taken in of the attempt that holds `run`."""
        attempt = self._attempts.get(run.id)
        return attempt.ack if attempt is not None and attempt.run.token == run.token else 0

    def lose(self, run: RunRecord, reason: str) -> None:
        """Take a run from an attempt that fell silent."""
        with self._lock:
            intake = Intake(self._attempts, self._requests, self._logs, time.time())

            def work(connection: Connection) -> Outcome:
                outcome = intake(connection, ())
                intake.lose(run, reason)
                return outcome

            self._answer(self._store.writer.call(work))

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                entries = self._broker.read_reports(_READ_AT_MOST, _BLOCK_MS)
                if not entries:
                    continue
                messages = [message for _, fields in entries if (message := parse(fields)) is not None]
                self._take(messages)
                self._broker.drop_reports([entry_id for entry_id, _ in entries])
            except redis.RedisError as error:
                _log.warning("the broker does not answer: %s", error)
                self._stopping.wait(0.5)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message, Hello):
                self._on_hello(message)
        ordered = [message for message in messages if not isinstance(message, Hello)]
        if not ordered:
            return
        with self._lock:
            try:
                self._commit(ordered)
            except redis.RedisError:
                raise
            except Exception:  # noqa: BLE001 - one bad report must not stop the others
                _log.exception("a batch of reports failed; taking them one by one")
                for message in ordered:
                    self._commit_alone(message)

    def _commit(self, messages: Sequence[Message]) -> None:
        intake = Intake(self._attempts, self._requests, self._logs, time.time())
        self._answer(self._store.writer.call(lambda connection: intake(connection, messages)))

    def _commit_alone(self, message: Message) -> None:
        try:
            self._commit([message])
        except redis.RedisError:
            raise
        except Exception:  # noqa: BLE001 - it cannot be taken in, now or later
            _log.exception("a report was dropped: %r", message)

    def _answer(self, outcome: Outcome) -> None:
        """Tell the workers and the controller what is committed."""
        for run_id, attempt in outcome.attempts.items():
            if attempt is None:
                self._attempts.pop(run_id, None)
            else:
                self._attempts[run_id] = attempt
        for run, search, ack in outcome.granted:
            order = orders.build(self._instance, search, run, self._environments)
            state = AttemptState(run.id, run.token, run.nonce, run.want, ack, self.new_generation())
            self._broker.grant(state, order)
        for nonce, reason in outcome.denied:
            self._broker.deny(nonce, reason)
        for run_id in outcome.claimed:
            self._controller.run_claimed(run_id)
        for run, has_metric in outcome.ended:
            self._controller.run_ended(run, has_metric)
        for run in outcome.requeued:
            self._controller.run_requeued(run)
        ended = [run.id for run, _ in outcome.ended]
        if outcome.acks or ended:
            self._broker.acknowledge(outcome.acks.items(), ended)
        rewritten = [self._state(run_id) for run_id in outcome.skipped if run_id in self._attempts]
        lost = [AttemptState(run.id, run.token, "", "", 0, "") for run in outcome.requeued]
        if rewritten or lost:
            self._broker.write_attempts([*rewritten, *lost])
        if outcome.told:
            self._on_told(outcome.told)

    def _state(self, run_id: int) -> AttemptState:
        attempt = self._attempts[run_id]
        run = attempt.run
        return AttemptState(run.id, run.token, run.nonce, run.want, attempt.ack, self.new_generation())
