"""What one batch of reports changes: run inside one transaction of the writer, so it touches nothing else.

Reports of an attempt are taken strictly in order: number `ack + 1` of the attempt that holds the run,
and no other. What an older attempt says changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from augury.ingest.admission import Refusal
from augury.ingest.messages import Claim, Died, Message, Report
from augury.logs import LogFiles
from augury.run import FINAL_STATES, HELD_STATES, Ended
from augury.store import points, runs, searches
from augury.store.database import Connection
from augury.store.points import PointRow
from augury.store.records import RunRecord, SearchRecord
from augury_workers import protocol

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenAttempt:
    """The attempt that holds a run, as far as its reports are taken in."""

    run: RunRecord
    ack: int = 0
    log_bytes: int = 0
    exit: Mapping[str, Any] = field(default_factory=dict)
    """Body of its `exit` report, empty until then."""


@dataclass
class Outcome:
    """What came of a batch, told to the workers and the controller after the commit."""

    granted: list[tuple[RunRecord, SearchRecord, int, str]] = field(default_factory=list)
    """Runs to send the order of, with their search, the last report taken in, the key of the claim."""
    claimed: list[RunRecord] = field(default_factory=list)
    denied: list[tuple[str, protocol.Denial]] = field(default_factory=list)
    """Pairs (nonce, reason)."""
    acks: dict[int, int] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)
    """Runs of which a report is missing: their attempts shall send again."""
    ended: list[tuple[RunRecord, bool | None]] = field(default_factory=list)
    """Final runs, and whether they had the metric of their search (None: says nothing)."""
    requeued: list[RunRecord] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    """Final runs of which the attempt that ended them has spoken again: it missed the answer."""
    left: list[RunRecord] = field(default_factory=list)
    """Runs of which an attempt has died that holds them no more: it has nothing left to say."""
    told: dict[int, tuple[int, set[str]]] = field(default_factory=dict)
    """Runs with new points or output: search id, and the names of the metrics ("" for output)."""
    attempts: dict[int, OpenAttempt | None] = field(default_factory=dict)
    """Open attempts as they are after the batch; None where there is none any more."""


class Intake:
    """Takes one batch in.

    `admit` says why a claim is refused, whatever its run. `known` are the open attempts as they were after
    the last commit. `requests` caches searches by id, of which only what never changes is used: the request,
    the queue, the environment. `seen` is when the first report of the batch was there: runs end then,
    although they may have waited since.
    """

    def __init__(
        self,
        known: Mapping[int, OpenAttempt],
        requests: MutableMapping[int, SearchRecord],
        logs: LogFiles,
        now: float,
        seen: float,
        admit: Callable[[Claim], Refusal | None],
    ) -> None:
        self._admit = admit
        self._known = known
        self._requests = requests
        self._logs = logs
        self._now = now
        self._seen = seen

    def __call__(self, connection: Connection, messages: Iterable[Message]) -> Outcome:
        """Apply `messages` in order and return what came of it."""
        self._connection = connection
        self._outcome = Outcome()
        self._rows: list[PointRow] = []
        for message in messages:
            if isinstance(message, Claim):
                self._claim(message)
            elif isinstance(message, Died):
                self._died(message)
            elif isinstance(message, Report):
                self._report(message)
        self._flush_points()
        for run_id in self._outcome.acks:
            attempt = self._outcome.attempts.get(run_id)
            if attempt is not None:
                self._acknowledge(attempt)
        return self._outcome

    # --- outside the order ---

    def _claim(self, claim: Claim) -> None:
        refused = self._admit(claim)
        if refused == "version" or refused == "key":
            self._outcome.denied.append((claim.nonce, refused))
            return
        # A drained worker is still told again of what it holds.
        run = self._claimed(claim) if refused is None else None
        if run is not None:
            self._outcome.claimed.append(run)
            self._outcome.attempts[run.id] = OpenAttempt(run)
            self._grant(run, 0, claim)
            return
        attempt = self._attempt(claim.run_id, claim.token, claim.nonce)
        if attempt is not None:
            # The same claim again: its answer was lost on the way.
            self._grant(attempt.run, attempt.ack, claim)
        else:
            self._outcome.denied.append((claim.nonce, "superseded"))

    def _claimed(self, claim: Claim) -> RunRecord | None:
        key = (claim.run_id, claim.token, claim.nonce)
        return runs.claim(self._connection, self._now, *key, claim.worker, prepares=self._prepares)

    def _grant(self, run: RunRecord, ack: int, claim: Claim) -> None:
        self._outcome.granted.append((run, self._request(run), ack, claim.mark.kid))

    def _died(self, died: Died) -> None:
        attempt = self._attempt(died.run_id, died.token, died.nonce)
        if attempt is not None:
            self._lose(attempt, died.reason)
        run = runs.get(self._connection, died.run_id)
        if run is not None and run.state not in HELD_STATES:
            self._outcome.left.append(run)

    def lose(self, run: RunRecord, reason: str) -> None:
        """Take a run from an attempt that fell silent, if that still holds it."""
        attempt = self._attempt(run.id, run.token, run.nonce)
        if attempt is not None:
            self._lose(attempt, reason)

    def _lose(self, attempt: OpenAttempt, reason: str) -> None:
        run = attempt.run
        if attempt.exit:
            # Its command had ended before the worker was lost: never run again.
            ended = _ended(attempt.exit, None)
            detail = f"{reason} after the command had ended: files it wrote did not come back"
            self._finish(attempt, replace(ended, cause="outputs_lost", detail=detail), 0)
            return
        self._flush_points()
        after = runs.lose(self._connection, self._now, run, reason, self._request(run).spec.retries)
        self._outcome.attempts[run.id] = None
        if after is None:
            return
        if after.state in FINAL_STATES:
            self._outcome.ended.append((after, None))
        else:
            self._outcome.requeued.append(after)

    # --- in order ---

    def _report(self, report: Report) -> None:
        attempt = self._attempt(report.run_id, report.token, report.nonce)
        if attempt is None:
            self._late(report)
            return
        if report.s != attempt.ack + 1:
            if report.s > attempt.ack + 1:
                self._outcome.skipped.add(report.run_id)
            else:
                self._outcome.acks.setdefault(report.run_id, attempt.ack)
            return
        attempt = replace(attempt, ack=report.s)
        kind = report.body.get("k")
        if kind == "metric":
            self._points(attempt.run, report)
        elif kind == "log":
            attempt = self._output(attempt, report)
        elif kind == "exit":
            attempt = replace(attempt, exit=report.body)
        elif kind == "state" and attempt.run.state == "building" and report.body.get("state") == "running":
            run = runs.built(self._connection, self._now, attempt.run)
            attempt = attempt if run is None else replace(attempt, run=run)
        elif kind == "state" and report.body.get("state") == "saving":
            attempt = self._saving(attempt, report.body)
        self._outcome.attempts[report.run_id] = attempt
        self._outcome.acks[report.run_id] = report.s
        if kind == "final":
            self._finish(attempt, _ended(attempt.exit, report.body), int(report.body.get("dropped", 0)))

    def _late(self, report: Report) -> None:
        """Acknowledge once more what the attempt said that ended its run; any other says nothing here."""
        run = runs.get(self._connection, report.run_id)
        if run is None or run.state not in FINAL_STATES:
            return
        record = runs.open_attempt(self._connection, run.id, run.token)
        if record is not None and (record.token, record.nonce) == (report.token, report.nonce):
            self._outcome.acks[run.id] = record.ack
            self._outcome.settled.append(run.id)

    def _points(self, run: RunRecord, report: Report) -> None:
        name = str(report.body["name"])
        for i, (index, value, time) in enumerate(report.body["points"]):
            number = protocol.decode_value(value)
            stored = None if number != number else number
            self._rows.append(PointRow(run.id, run.token, report.s, i, name, int(index), stored, float(time)))
        self._tell(run, name)

    def _output(self, attempt: OpenAttempt, report: Report) -> OpenAttempt:
        run, offset = attempt.run, int(report.body["o"])
        self._logs.write(run.id, run.token, offset, report.data)
        self._tell(run, "")
        return replace(attempt, log_bytes=max(attempt.log_bytes, offset + len(report.data)))

    def _saving(self, attempt: OpenAttempt, body: Mapping[str, Any]) -> OpenAttempt:
        files, size = int(body.get("files", 0)), int(body.get("bytes", 0))
        run = runs.save(self._connection, self._now, attempt.run, files, size)
        return attempt if run is None else replace(attempt, run=run)

    def _tell(self, run: RunRecord, name: str) -> None:
        self._outcome.told.setdefault(run.id, (run.search_id, set()))[1].add(name)

    def _finish(self, attempt: OpenAttempt, ended: Ended, dropped: int) -> None:
        self._flush_points()
        run = attempt.run
        spec = self._request(run).spec
        objective: float | None = None
        has_metric: bool | None = None
        if spec.metric is not None and ended.state in ("complete", "failed"):
            objective, has_metric = points.objective(
                self._connection, run.id, run.token, spec.metric, spec.metric_agg
            )
            if ended.state == "failed":
                objective = None
            elif objective is None:
                ended = replace(ended, cause="diverged" if has_metric else "no_metric")
        self._outcome.attempts[run.id] = None
        output = runs.Output(attempt.ack, attempt.log_bytes, dropped)
        after = runs.finish(self._connection, self._seen, run, ended, objective, output)
        if after is not None:
            self._outcome.ended.append((after, has_metric))

    # --- helpers ---

    def _attempt(self, run_id: int, token: int, nonce: str) -> OpenAttempt | None:
        """Return the open attempt that says so of itself, or None when it does not hold the run."""
        if run_id in self._outcome.attempts:
            attempt = self._outcome.attempts[run_id]
        elif run_id in self._known:
            attempt = self._known[run_id]
        else:
            attempt = self._load(run_id)
        if attempt is None or (attempt.run.token, attempt.run.nonce) != (token, nonce):
            return None
        return attempt

    def _load(self, run_id: int) -> OpenAttempt | None:
        run = runs.get(self._connection, run_id)
        if run is None or run.state not in HELD_STATES:
            return None
        record = runs.open_attempt(self._connection, run_id, run.token)
        if record is None:
            return None
        exit_body = {"code": record.exit_code, "cause": record.cause} if record.cause else {}
        return OpenAttempt(run, record.ack, record.log_bytes, exit_body)

    def _acknowledge(self, attempt: OpenAttempt) -> None:
        code, cause = attempt.exit.get("code"), attempt.exit.get("cause")
        key = (attempt.run.id, attempt.run.token)
        runs.acknowledge(self._connection, key, attempt.ack, attempt.log_bytes, code, cause)

    def _prepares(self, search_id: int) -> bool:
        return self._search(search_id).spec.snapshot is not None

    def _request(self, run: RunRecord) -> SearchRecord:
        return self._search(run.search_id)

    def _search(self, search_id: int) -> SearchRecord:
        search = self._requests.get(search_id)
        if search is None:
            search = self._requests[search_id] = searches.get(self._connection, search_id)
        return search

    def _flush_points(self) -> None:
        points.insert_all(self._connection, self._rows)
        self._rows = []


def _ended(exit_body: Mapping[str, Any], final: Mapping[str, Any] | None) -> Ended:
    """Return how an attempt ended, from its `exit` report and, where there is one, its `final` report."""
    code = exit_body.get("code")
    cause = str(exit_body.get("cause", "exit"))
    if final is not None:
        state = str(final["state"])
        if state not in FINAL_STATES:
            raise ValueError(f"'{state}' is not a final state")
        return Ended(state, str(final.get("cause") or cause), code, str(final.get("detail") or ""))
    if cause in ("stopped", "killed", "timeout"):
        return Ended("killed" if cause == "killed" else "stopped", cause, code)
    return Ended("complete" if code == 0 and cause == "exit" else "failed", cause, code)
