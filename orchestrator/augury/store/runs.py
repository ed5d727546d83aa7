"""Runs and their attempts: every transition is one compare-and-set with its event row beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from augury.run import FINAL_STATES, HELD_STATES, MAX_LOST_ATTEMPTS, OPEN_STATES, WEAKER, Ended, Want
from augury.store import events
from augury.store.records import AttemptRecord, RunRecord
from augury.store.schema import attempts, runs, searches

_PORTION = 10_000
_BY_ID = select(runs).where(runs.c.id == bindparam("id"))
_CLAIM = (
    update(runs)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.token == bindparam("of_token"),
        runs.c.state == "queued",
        runs.c.want == "",
    )
    .values(
        state="running",
        nonce=bindparam("by_nonce"),
        worker=bindparam("by_worker"),
        started_at=bindparam("now"),
        attempts=runs.c.attempts + 1,
    )
    .returning(runs)
)
_BUILD = update(runs).where(runs.c.id == bindparam("run")).values(state="building").returning(runs)
_INSERT_ATTEMPT = insert(attempts)
_HELD = (
    runs.c.id == bindparam("run"),
    runs.c.token == bindparam("of_token"),
    runs.c.nonce == bindparam("by_nonce"),
    runs.c.state.in_(HELD_STATES),
)
_FINISH = (
    update(runs)
    .where(*_HELD)
    .values(
        state=bindparam("to_state"),
        cause=bindparam("why"),
        exit_code=bindparam("code"),
        detail=bindparam("details"),
        objective=bindparam("judged"),
        landed=bindparam("event"),
        ended_at=bindparam("now"),
    )
    .returning(runs)
)
_BUILT = update(runs).where(*_HELD, runs.c.state == "building").values(state="running").returning(runs)
_ATTEMPT = update(attempts).where(
    attempts.c.run_id == bindparam("run"), attempts.c.token == bindparam("of_token")
)
_ACK = _ATTEMPT.values(
    ack=bindparam("acked"), log_bytes=bindparam("bytes"), exit_code=bindparam("code"), cause=bindparam("why")
)
_SAVING = update(runs).where(*_HELD, runs.c.state != "saving").values(state="saving").returning(runs)
_FINISH_ATTEMPT = _ATTEMPT.values(
    state=bindparam("to_state"),
    cause=bindparam("why"),
    exit_code=bindparam("code"),
    ended_at=bindparam("now"),
    ack=bindparam("acked"),
    log_bytes=bindparam("bytes"),
    dropped=bindparam("lost_bytes"),
)


def claim(
    connection: Connection,
    now: float,
    run_id: int,
    token: int,
    nonce: str,
    worker: str,
    *,
    prepares: Callable[[int], bool] = lambda search_id: False,
) -> RunRecord | None:
    """Give a queued run to the attempt that asks first; None when it is not to be had.

    It is `building` when `prepares` says of its search that files are to be prepared, else `running`.
    """
    parameters = {"run": run_id, "of_token": token, "by_nonce": nonce, "by_worker": worker, "now": now}
    row = connection.execute(_CLAIM, parameters).first()
    if row is None:
        return None
    run = RunRecord.of(row)
    if prepares(run.search_id):
        run = RunRecord.of(connection.execute(_BUILD, {"run": run_id}).one())
    attempt = {
        "run_id": run_id,
        "token": token,
        "number": run.attempts,
        "nonce": nonce,
        "worker": worker,
        "state": run.state,
        "started_at": now,
    }
    connection.execute(_INSERT_ATTEMPT, attempt)
    data = {"state": run.state, "attempt": run.attempts, "worker": worker}
    events.add(connection, now, run.search_id, run_id, "run", data)
    return run


def built(connection: Connection, now: float, run: RunRecord) -> RunRecord | None:
    """Note that the attempt that holds `run` has prepared its files and executes it.

    Returns the run as it is now, or None when it is not `building`, or held by another attempt.
    """
    key = {"run": run.id, "of_token": run.token, "by_nonce": run.nonce}
    row = connection.execute(_BUILT, key).first()
    if row is None:
        return None
    connection.execute(_ATTEMPT.values(state="running"), {"run": run.id, "of_token": run.token})
    data = {"state": "running", "attempt": run.attempts, "worker": run.worker}
    events.add(connection, now, run.search_id, run.id, "run", data)
    return RunRecord.of(row)


def acknowledge(
    connection: Connection,
    key: tuple[int, int],
    ack: int,
    log_bytes: int,
    code: int | None,
    cause: str | None,
) -> None:
    """Record what is taken in of the attempt `key` = (run id, token): its reports up to number `ack`.

    `code` and `cause` are those of its `exit` report, None until there is one.
    """
    run_id, token = key
    values = {"acked": ack, "bytes": log_bytes, "code": code, "why": cause}
    connection.execute(_ACK, {"run": run_id, "of_token": token} | values)


def save(connection: Connection, now: float, run: RunRecord, files: int, size: int) -> RunRecord | None:
    """Note that the attempt that holds `run` saves the files it wrote: so many, of `size` bytes.

    Returns the run as it is now, or None when that attempt did not hold it any more or saves already.
    """
    key = {"run": run.id, "of_token": run.token, "by_nonce": run.nonce}
    row = connection.execute(_SAVING, key).first()
    if row is None:
        return None
    connection.execute(_ATTEMPT.values(state="saving"), {"run": run.id, "of_token": run.token})
    data = {"state": "saving", "files": files, "bytes": size}
    events.add(connection, now, run.search_id, run.id, "run", data)
    return RunRecord.of(row)


class Output(NamedTuple):
    """What is taken in of an attempt that ends: its last report, bytes of output, bytes dropped."""

    ack: int
    log_bytes: int
    dropped: int


def finish(
    connection: Connection, now: float, run: RunRecord, ended: Ended, objective: float | None, output: Output
) -> RunRecord | None:
    """End the attempt that holds `run`, and the run with it.

    Returns the run as it is now, or None when that attempt did not hold it any more.
    """
    key = {"run": run.id, "of_token": run.token, "by_nonce": run.nonce}
    data = {"state": ended.state, "objective": objective, "cause": ended.cause, "exit_code": ended.exit_code}
    landed = events.add(connection, now, run.search_id, run.id, "run", data)
    columns = {
        "to_state": ended.state,
        "why": ended.cause,
        "code": ended.exit_code,
        "details": ended.detail or None,
        "judged": objective,
        "event": landed,
        "now": now,
    }
    row = connection.execute(_FINISH, key | columns).first()
    if row is None:
        events.remove(connection, landed)
        return None
    attempt = {
        "run": run.id,
        "of_token": run.token,
        "to_state": ended.state,
        "why": ended.cause,
        "code": ended.exit_code,
        "now": now,
        "acked": output.ack,
        "bytes": output.log_bytes,
        "lost_bytes": output.dropped,
    }
    connection.execute(_FINISH_ATTEMPT, attempt)
    return RunRecord.of(row)


def lose(
    connection: Connection, now: float, run: RunRecord, reason: str, retries: int | None = None
) -> RunRecord | None:
    """Take a run from an attempt that is gone: queue it again, `retries` times at most, or end it.

    A run that shall stop or be killed is `killed` instead. Returns the run as it is now, or None
    when that attempt did not hold it any more.
    """
    current = get(connection, run.id)
    # The record at hand may be older than a wish: what becomes of the run is decided by its row.
    if current is None or (current.token, current.nonce) != (run.token, run.nonce):
        return None
    columns: dict[str, Any] = {"token": run.token + 1, "nonce": "", "lost": current.lost + 1, "worker": None}
    if current.want:
        columns |= {"state": "killed", "cause": "killed"}
    elif current.lost >= (MAX_LOST_ATTEMPTS if retries is None else retries):
        columns |= {"state": "interrupted", "cause": "lost", "detail": reason}
    else:
        columns |= {"state": "queued", "started_at": None}
    state = columns["state"]
    event = events.add(
        connection, now, run.search_id, run.id, "run", {"state": state, "cause": "lost", "reason": reason}
    )
    if state in FINAL_STATES:
        columns |= {"landed": event, "ended_at": now}
    key = {"run": run.id, "of_token": run.token, "by_nonce": run.nonce}
    row = connection.execute(update(runs).where(*_HELD).values(columns).returning(runs), key).first()
    if row is None:
        events.remove(connection, event)
        return None
    lost = {"state": "lost", "cause": "lost", "ended_at": now}
    connection.execute(_ATTEMPT.values(lost), {"run": run.id, "of_token": run.token})
    return RunRecord.of(row)


def _portions(run_ids: Collection[int]) -> Iterator[list[int]]:
    """Split ids into as many as a statement takes (SQLite: 32766 parameters)."""
    rest = iter(run_ids)
    while portion := list(islice(rest, _PORTION)):
        yield portion


def kill_queued(
    connection: Connection, now: float, search_id: int, run_ids: Collection[int] | None = None
) -> list[int]:
    """Kill the runs of a search (all, or those named) that are still queued; return their ids.

    Each gets a new token, so that its doorbell is void. Runs that are named get an event row each;
    of all queued runs of a search, one row tells of as many as have consecutive ids.
    """
    columns = {
        "state": "killed",
        "want": "kill",
        "cause": "killed",
        "token": runs.c.token + 1,
        "ended_at": now,
    }
    statement = (
        update(runs)
        .where(runs.c.search_id == search_id, runs.c.state == "queued")
        .values(columns)
        .returning(runs.c.id)
    )
    if run_ids is None:
        killed = sorted(connection.execute(statement).scalars())
        for _, stretch in groupby(enumerate(killed), lambda pair: pair[1] - pair[0]):
            members = [run_id for _, run_id in stretch]
            data = {"state": "killed", "first": members[0], "count": len(members)}
            events.add(connection, now, search_id, None, "runs", data)
        return killed
    killed = []
    for portion in _portions(run_ids):
        killed += connection.execute(statement.where(runs.c.id.in_(portion))).scalars()
    killed.sort()
    data = {"state": "killed", "objective": None, "cause": "killed", "exit_code": None}
    events.add_all(connection, now, search_id, killed, "run", data)
    return killed


def raise_want(connection: Connection, run_ids: Collection[int], want: Want) -> list[RunRecord]:
    """Record that held runs shall stop or be killed (never weakening a wish); return the held ones."""
    found: list[RunRecord] = []
    for portion in _portions(run_ids):
        held = runs.c.id.in_(portion) & runs.c.state.in_(HELD_STATES)
        connection.execute(update(runs).where(held, runs.c.want.in_(WEAKER[want])).values(want=want))
        found += [RunRecord.of(row) for row in connection.execute(select(runs).where(held))]
    return sorted(found, key=lambda run: run.id)


def renew_tokens(connection: Connection, run_ids: Collection[int]) -> dict[int, int]:
    """Raise the token of runs that are still queued, so that their old doorbells are void."""
    tokens: dict[int, int] = {}
    for portion in _portions(run_ids):
        statement = (
            update(runs)
            .where(runs.c.id.in_(portion), runs.c.state == "queued")
            .values(token=runs.c.token + 1)
            .returning(runs.c.id, runs.c.token)
        )
        tokens |= {row.id: row.token for row in connection.execute(statement)}
    return tokens


def get(connection: Connection, run_id: int) -> RunRecord | None:
    """Return a run, or None."""
    row = connection.execute(_BY_ID, {"id": run_id}).first()
    return RunRecord.of(row) if row is not None else None


def get_many(connection: Connection, run_ids: Collection[int]) -> dict[int, RunRecord]:
    """Return those of the runs that exist, by id."""
    found: dict[int, RunRecord] = {}
    for portion in _portions(run_ids):
        rows = connection.execute(select(runs).where(runs.c.id.in_(portion)))
        found |= {row.id: RunRecord.of(row) for row in rows}
    return found


def of_search(
    connection: Connection, search_id: int, *, after: int = 0, limit: int | None = None
) -> list[RunRecord]:
    """Return the runs of a search in order of their ids, from the one behind `after` on."""
    statement = select(runs).where(runs.c.search_id == search_id, runs.c.id > after).order_by(runs.c.id)
    if limit is not None:
        statement = statement.limit(limit)
    return [RunRecord.of(row) for row in connection.execute(statement)]


def open_tokens(connection: Connection, search_id: int) -> list[tuple[int, int, str]]:
    """Return (id, token, state) of the runs of a search that are not final, in order of their ids."""
    statement = (
        select(runs.c.id, runs.c.token, runs.c.state)
        .where(runs.c.search_id == search_id, runs.c.state.in_(OPEN_STATES))
        .order_by(runs.c.id)
    )
    return [(row.id, row.token, row.state) for row in connection.execute(statement)]


_HELD_ATTEMPTS = (
    select(runs, attempts)
    .join(attempts, (attempts.c.run_id == runs.c.id) & (attempts.c.token == runs.c.token))
    .where(runs.c.state.in_(HELD_STATES))
    .order_by(runs.c.id)
)


def held(connection: Connection) -> list[tuple[RunRecord, AttemptRecord]]:
    """Return all runs that an attempt holds, with that attempt, in order of their ids."""
    width = len(runs.columns)
    return [
        (RunRecord(*row[:width]), AttemptRecord(*row[width:])) for row in connection.execute(_HELD_ATTEMPTS)
    ]


_ATTEMPT_BY_KEY = select(attempts).where(
    attempts.c.run_id == bindparam("run"), attempts.c.token == bindparam("of_token")
)


def open_attempt(connection: Connection, run_id: int, token: int) -> AttemptRecord | None:
    """Return the attempt of a run that goes with `token`, or None."""
    row = connection.execute(_ATTEMPT_BY_KEY, {"run": run_id, "of_token": token}).first()
    return AttemptRecord(*row) if row is not None else None


def attempts_of(connection: Connection, run_id: int) -> list[AttemptRecord]:
    """Return all attempts of a run, oldest first."""
    statement = select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.token)
    return [AttemptRecord(*row) for row in connection.execute(statement)]


def listing(
    connection: Connection,
    *,
    before: int | None,
    limit: int,
    owner: str | None,
    states: Sequence[str] = (),
    search_ids: Collection[int] | None = None,
) -> list[RunRecord]:
    """Return runs (of the searches named, or of all), newest first, with an id below `before`."""
    statement = select(runs).order_by(runs.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(runs.c.id < before)
    if states:
        statement = statement.where(runs.c.state.in_(states))
    if search_ids is not None:
        statement = statement.where(runs.c.search_id.in_(search_ids))
    if owner is not None:
        statement = statement.join(searches, searches.c.id == runs.c.search_id).where(
            searches.c.owner == owner
        )
    return [RunRecord.of(row) for row in connection.execute(statement)]


def held_by_worker(connection: Connection) -> dict[str, int]:
    """Return how many runs each worker holds."""
    statement = (
        select(runs.c.worker, func.count()).where(runs.c.state.in_(HELD_STATES)).group_by(runs.c.worker)
    )
    return {worker: count for worker, count in connection.execute(statement) if worker is not None}
