"""The thread that takes reports in: read, commit, answer, in this order.

Reports are removed from the stream only after their commit, so whatever dies in between they are
read again; taking one in twice changes nothing.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from augury.controller.loop import Controller
from augury.dispatch import orders
from augury.dispatch.answers import Answers, AttemptState
from augury.dispatch.broker import BROKER_FAILURES, Broker, Fields
from augury.errors import RefusedError
from augury.ingest.admission import Refusal
from augury.ingest.intake import Intake, OpenAttempt, Outcome
from augury.ingest.messages import Claim, Hello, Message, Report, is_ordered, parse
from augury.logs import LogFiles
from augury.store.database import FAILURES, Connection, Store
from augury.store.records import RunRecord, SearchRecord

_READ_AT_MOST = 1000
_BLOCK_MS = 1000
_CLAIM_SECONDS = 0.002
"""So soon after its last report a slot claims the next run, if a doorbell rings."""
_NOT_NOW = (RefusedError, *FAILURES)
"""Not the fault of a report: it stays in the stream, for later or for the server that has taken over."""
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
        lost_after: float | None,
        blobs: str | None = None,
        admit: Callable[[Claim], Refusal | None],
        on_hello: Callable[[Hello], None],
        on_told: Callable[[dict[int, tuple[int, set[str]]]], None],
    ) -> None:
        self._store = store
        self._broker = broker
        self._controller = controller
        self._logs = logs
        self._instance = instance
        self._environments = environments
        self._lost_after = lost_after
        self._admit = admit
        self._blobs = blobs
        self._on_hello = on_hello
        self._on_told = on_told
        self._attempts: dict[int, OpenAttempt] = {}
        self._requests: dict[int, SearchRecord] = {}
        self._seen = 0.0
        """When the reports at hand were read first, in seconds since 1970."""
        self._unsure = False
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
            intake = self._intake(time.time())

            def work(connection: Connection) -> Outcome:
                outcome = intake(connection, ())
                intake.lose(run, reason)
                return outcome

            outcome = self._write(work)
            answers = self._broker.answers()
            self._answer(outcome, answers)
            self._send(answers, [outcome])

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                entries = self._broker.read_reports(_READ_AT_MOST, _BLOCK_MS)
                self._seen = time.time()
                if self._claims_follow(entries):
                    self._stopping.wait(_CLAIM_SECONDS)
                    entries = self._broker.read_reports(_READ_AT_MOST, _BLOCK_MS)
                if entries:
                    self._take(entries)
                else:
                    self._catch_up()
            except BROKER_FAILURES as error:
                _log.warning("the broker does not answer: %s", error)
                self._stopping.wait(0.5)
            except FAILURES as error:
                _log.warning("the store does not take reports in: %s", error)
                self._stopping.wait(0.5)
            except Exception:  # noqa: BLE001 - the thread must live on; what is not taken in is read again
                _log.exception("reports could not be taken in")
                self._stopping.wait(0.5)

    def _claims_follow(self, entries: Sequence[tuple[bytes, Fields]]) -> bool:
        """Tell whether slots that get free are about to claim: then one transaction takes all of it in."""
        reports_only = all(is_ordered(fields) for _, fields in entries)
        return bool(entries) and reports_only and bool(self._controller.rung())

    def _take(self, entries: Sequence[tuple[bytes, Fields]]) -> None:
        messages = [message for _, fields in entries if (message := parse(fields)) is not None]
        for message in messages:
            if isinstance(message, Hello):
                self._on_hello(message)
        ordered = [message for message in messages if not isinstance(message, Hello)]
        answers = self._broker.answers()
        outcomes: list[Outcome] = []
        try:
            with self._lock:
                for outcome in self._outcomes(ordered):
                    outcomes.append(outcome)
                    self._answer(outcome, answers)
            # Committed, so not to be read again; what is lost on the way is asked for or mended later.
            answers.drop_reports([entry_id for entry_id, _ in entries])
        finally:
            self._send(answers, outcomes)

    def _send(self, answers: Answers, outcomes: Sequence[Outcome]) -> None:
        """Tell the workers and then the controller what is committed, whether or not the workers hear it."""
        try:
            answers.send()
        finally:
            for outcome in outcomes:
                self._controller.took_in(outcome.claimed, outcome.ended, outcome.requeued)

    def _outcomes(self, messages: Sequence[Message]) -> Iterator[Outcome]:
        if not messages:
            return
        try:
            yield self._commit(messages)
        except _NOT_NOW:
            raise
        except Exception:  # noqa: BLE001 - one bad report must not stop the others
            _log.exception("a batch of reports failed; taking them one by one")
            for message in messages:
                yield from self._alone(message)

    def _alone(self, message: Message) -> Iterator[Outcome]:
        try:
            yield self._commit([message])
        except _NOT_NOW:
            raise
        except Exception:  # noqa: BLE001 - it cannot be taken in, now or later
            _log.exception("a report was dropped: %r", message)
            if isinstance(message, Report):
                # Its number is taken in, or its attempt would send it for ever.
                yield self._commit([replace(message, body={}, data=b"")])

    def _commit(self, messages: Sequence[Message]) -> Outcome:
        intake = self._intake(self._seen)
        return self._write(lambda connection: intake(connection, messages))

    def _intake(self, seen: float) -> Intake:
        return Intake(self._attempts, self._requests, self._logs, time.time(), seen, self._admit)

    def _write(self, work: Callable[[Connection], Outcome]) -> Outcome:
        try:
            outcome = self._store.writer.call(work)
        except Exception:
            # Whether the commit holds is unknown: what is remembered of the store is read again.
            self._attempts.clear()
            self._unsure = True
            raise
        self._catch_up()
        return outcome

    def _catch_up(self) -> None:
        """After a commit that failed: have the controller read what it may have missed."""
        if self._unsure:
            self._unsure = False
            self._controller.missed()

    def _answer(self, outcome: Outcome, answers: Answers) -> None:
        """Remember what is committed, and collect what there is to say of it."""
        for run_id, attempt in outcome.attempts.items():
            if attempt is None:
                self._attempts.pop(run_id, None)
            else:
                self._attempts[run_id] = attempt
        # Before the grants: a run may have been left and claimed in one batch.
        unheld = [*outcome.requeued, *outcome.left]
        answers.write_attempts(AttemptState(run.id, run.token, "", "", 0, "") for run in unheld)
        for run, search, ack, kid in outcome.granted:
            order = orders.build(
                self._instance, search, run, self._environments, self._lost_after, self._blobs
            )
            state = AttemptState(run.id, run.token, run.nonce, run.want, ack, self.new_generation())
            answers.grant(state, order, kid)
        for nonce, reason in outcome.denied:
            answers.deny(nonce, reason)
        answers.write_attempts(self._state(run_id) for run_id in outcome.skipped if run_id in self._attempts)
        over = [run.id for run in (*(run for run, _ in outcome.ended), *unheld)]
        answers.acknowledge(outcome.acks.items(), [*over, *outcome.settled])
        if outcome.told:
            self._on_told(outcome.told)

    def _state(self, run_id: int) -> AttemptState:
        attempt = self._attempts[run_id]
        run = attempt.run
        return AttemptState(run.id, run.token, run.nonce, run.want, attempt.ack, self.new_generation())
