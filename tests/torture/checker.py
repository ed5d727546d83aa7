"""What must hold after whatever happened: reads traces, the store and the public interface, nothing else."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from augury.client import Client
from augury.controller.sampling import Sampling
from augury.run import FINAL_STATES, HELD_STATES, MAX_LOST_ATTEMPTS
from augury.spec import SearchSpec, text_of
from augury.store.records import Assignment
from augury_samplers import Observation
from tests.torture import traces as tracing
from tests.torture.searches import Submitted
from tests.torture.stand import Reader

_FINAL = "', '".join(FINAL_STATES)
_EXAMPLES = 5


@dataclass
class Findings:
    """What the checker has counted, and what it objects to."""

    violations: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, Any] = field(default_factory=dict)

    def object_to(self, invariant: str, text: str) -> None:
        """Note that something promised does not hold."""
        self.violations[invariant].append(text)

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.violations

    def lines(self) -> list[str]:
        """Return a few objections to each invariant."""
        found = []
        for name, texts in sorted(self.violations.items()):
            found += [f"{name}: {text}" for text in texts[:_EXAMPLES]]
            if len(texts) > _EXAMPLES:
                found.append(f"{name}: and {len(texts) - _EXAMPLES} more")
        return found


def check(
    searches: Sequence[Submitted],
    reader: Reader,
    client: Client,
    folder: Path,
    in_flight: Mapping[int, int],
) -> Findings:
    """Check I1 to I5; `in_flight` are the most runs of each search that a sample of the store has seen."""
    findings = Findings()
    attempts = tracing.read(folder)
    _finals(findings, searches, reader)
    _alone(findings, attempts)
    for search in searches:
        rows = reader.rows(
            f"SELECT id, position, state, {_quoted('values')}, objective, landed FROM runs "
            f"WHERE search_id = {search.id} ORDER BY position"
        )
        if search.fault_free is not None:
            _same_history(findings, search, rows)
        else:
            _replayed(findings, search, rows, reader)
        _in_flight(findings, search, rows, attempts, in_flight)
        _points(findings, search, client)
    findings.numbers["runs"] = sum(search.num_runs for search in searches)
    findings.numbers["attempts that left traces"] = len(attempts)
    return findings


def _quoted(column: str) -> str:
    return f'"{column}"'


def _finals(findings: Findings, searches: Sequence[Submitted], reader: Reader) -> None:
    """I1: every run is final, once."""
    ids = ", ".join(str(search.id) for search in searches)
    runs = reader.rows(f"SELECT id, state, lost, attempts FROM runs WHERE search_id IN ({ids})")
    events = reader.rows(
        f"SELECT run_id, data FROM events WHERE kind = 'run' AND run_id > 0 AND search_id IN ({ids})"
    )
    ended: dict[int, list[str]] = defaultdict(list)
    for run_id, data in events:
        state = json.loads(data)["state"]
        if state in FINAL_STATES:
            ended[run_id].append(state)
    if len(runs) != sum(search.num_runs for search in searches):
        findings.object_to("I1", f"{len(runs)} runs exist")
    states: dict[str, int] = defaultdict(int)
    for run_id, state, lost, _ in runs:
        states[state] += 1
        if ended[run_id] != [state]:
            findings.object_to("I1", f"run {run_id} is {state}, its ends are {ended[run_id]}")
        if state not in ("complete", "interrupted"):
            findings.object_to("I1", f"run {run_id} ended as {state}")
        if state == "interrupted" and lost <= MAX_LOST_ATTEMPTS:
            findings.object_to("I1", f"run {run_id} was given up after {lost} lost attempts")
    findings.numbers["ended as"] = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    findings.numbers["attempts"] = sum(number for _, _, _, number in runs)
    findings.numbers["attempts lost"] = sum(lost for _, _, lost, _ in runs)


def _alone(findings: Findings, attempts: Sequence[tracing.AttemptTrace]) -> None:
    """I2: no two attempts of a run are alive at once."""
    found = tracing.overlaps(attempts)
    for overlap in found:
        if not overlap.allowed:
            text = (
                f"run {overlap.run}: {' and '.join(overlap.names)} alive together for {overlap.seconds:.3f} s"
            )
            findings.object_to("I2", text + (", after a freeze" if overlap.after_freeze else ""))
    frozen = [one.seconds for one in found if one.after_freeze]
    findings.numbers["overlaps"] = len(found) - len(frozen)
    findings.numbers["overlaps after a freeze"] = (
        f"{len(frozen)}, the longest {max(frozen, default=0.0):.2f} s" if frozen else "0"
    )


def _same_history(findings: Findings, search: Submitted, rows: Sequence[tuple[Any, ...]]) -> None:
    """I3: a grid or a random search has the runs it would have had without a fault, byte by byte."""
    expected = [json.dumps(params) for params in search.fault_free or ()]
    if (found := [row[3] for row in rows]) != expected:
        place = next(
            (i for i, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), 0
        )
        findings.object_to("I3", f"{search.kind}: run number {place} differs from the fault-free one")
    for run_id, _, state, values, objective, _ in rows:
        if state == "complete" and objective != float(json.loads(values)["x"]):
            findings.object_to("I3", f"run {run_id} has objective {objective}, its values are {values}")


def _replayed(findings: Findings, search: Submitted, rows: Sequence[tuple[Any, ...]], reader: Reader) -> None:
    """I3: a bayesian search is what its sampler says again, given the arrivals that the store has recorded.

    How many of them were known when a run was chosen is not recorded: it is searched for, between what must
    have been known and what had arrived by then. With another number it would have been another run. The last
    bits of a number that was chosen by a model are left out: they differ from one process to the next.
    """
    spec = SearchSpec.from_json(
        json.loads(reader.rows(f"SELECT spec FROM searches WHERE id = {search.id}")[0][0])
    )
    sampling = Sampling(spec)
    made = reader.rows(
        f"SELECT id, data FROM events WHERE kind = 'runs' AND search_id = {search.id} ORDER BY id"
    )
    born = [event for event, data in made for _ in range(json.loads(data)["count"])]
    landed = sorted((row for row in rows if row[5] is not None), key=lambda row: row[5])
    known, memo = 0, None
    for row in rows:
        position, values = row[1], row[3]
        most = sum(one[5] < born[position] for one in landed)
        for count in range(max(known, position + 1 - search.parallel_runs), most + 1):
            suggested, after = _suggest(sampling, rows[:position], landed[:count], memo)
            if _same(suggested, values):
                known, memo = count, after
                break
        else:
            findings.object_to("I3", f"bayesian: run number {position} is not what its arrivals give")
            return
        if row[2] == "complete" and row[4] != json.loads(values)["x"]:
            findings.object_to("I3", f"run {row[0]} has objective {row[4]}, its values are {values}")


def _suggest(
    sampling: Sampling, before: Sequence[tuple[Any, ...]], landed: Sequence[tuple[Any, ...]], memo: Any
) -> tuple[str | None, Any]:
    told = {row[0] for row in landed}
    observations = [
        Observation(_values(sampling, row), row[4]) for row in landed if row[2] in ("complete", "failed")
    ]
    pending = [_values(sampling, row) for row in before if row[0] not in told]
    assignment, memo = sampling.suggest(observations, pending, len(before), memo)
    return (None if assignment is None else json.dumps(dict(assignment.values))), memo


def _same(suggested: str | None, values: str) -> bool:
    if suggested is None or suggested == values:
        return suggested == values
    mine, theirs = json.loads(suggested), json.loads(values)
    return list(mine) == list(theirs) and all(
        math.isclose(mine[name], theirs[name], rel_tol=1e-9)
        if isinstance(mine[name], float)
        else mine[name] == theirs[name]
        for name in mine
    )


def _values(sampling: Sampling, row: tuple[Any, ...]) -> dict[str, Any]:
    values = json.loads(row[3])
    return sampling.values_of(Assignment(values, {name: text_of(value) for name, value in values.items()}))


def _in_flight(
    findings: Findings,
    search: Submitted,
    rows: Sequence[tuple[Any, ...]],
    attempts: Sequence[tracing.AttemptTrace],
    in_flight: Mapping[int, int],
) -> None:
    """I4: never more runs in flight than `--parallel-runs`."""
    members = {row[0] for row in rows}
    most = tracing.most_at_once([one for one in attempts if one.run in members])
    for what, number in (("in the store", in_flight.get(search.id, 0)), ("alive", most)):
        if number > search.parallel_runs:
            findings.object_to("I4", f"{search.kind}: {number} of {search.parallel_runs} runs {what} at once")


def _points(findings: Findings, search: Submitted, client: Client) -> None:
    """I5: the points of a run are those its winning attempt reported, all of them, and no others."""
    stored: dict[tuple[int, str], list[tuple[int, float]]] = defaultdict(list)
    for point in client.iter_points(search=search.id):
        stored[point["run_id"], point["name"]].append((point["index"], float(point["value"])))
    count = 0
    for summary in client.iter_runs(search.id):
        if summary["state"] != "complete":
            continue
        run = client.get_run(summary["id"])
        number, x = run["params"]["n"], float(run["params"]["x"])
        winners = [one["attempt"] for one in run["attempt_list"] if one["state"] == "complete"]
        if len(winners) != 1:
            findings.object_to("I1", f"run {run['id']} has {len(winners)} attempts that completed it")
            continue
        count += 2 * number
        for name, expected in (
            ("value", [(i, x + i) for i in range(number)]),
            ("attempt", [(i, float(winners[0])) for i in range(number)]),
        ):
            if (found := sorted(stored[run["id"], name])) != expected:
                text = f"run {run['id']}: {len(found)} points of '{name}' stored, {number} reported"
                findings.object_to("I5", f"{text}, {len(set(found) - set(expected))} of them others")
    findings.numbers["points of complete runs"] = findings.numbers.get("points of complete runs", 0) + count


def check_left(
    findings: Findings, left: Sequence[int], instance_prefix: str, connection: redis.Redis
) -> None:
    """I6 and I7: no process of a run is left (`left` are those that are), and no key of a search for ever."""
    for pid in left:
        findings.object_to("I6", f"process {pid} of a run is left")
    findings.numbers["processes left"] = len(left)
    lasting = {"leader", "drained", "refused", "reports", "told"}
    for key in connection.scan_iter(instance_prefix + "*"):
        kind = key.decode().removeprefix(instance_prefix).split(":")[0]
        if kind in ("att", "box") and not 0 < connection.ttl(key) <= 3600:  # type: ignore[operator]
            findings.object_to("I7", f"{key.decode()} stays for ever")
        elif kind not in ("att", "box", *lasting) and not kind.startswith("_kombu") and not _pidbox(kind):
            findings.object_to("I7", f"{key.decode()} is left, of {connection.type(key)!r}")
    if connection.xlen(instance_prefix + "reports"):
        findings.object_to("I7", "reports are left in the stream")


def _pidbox(kind: str) -> bool:
    return "celery" in kind or "pidbox" in kind or kind.startswith("unacked")


def held_now(reader: Reader) -> dict[int, int]:
    """Return how many runs of each search are held by an attempt at this instant."""
    states = "', '".join(HELD_STATES)
    rows = reader.rows(f"SELECT search_id, count(*) FROM runs WHERE state IN ('{states}') GROUP BY search_id")
    return {int(search): int(count) for search, count in rows}


def open_now(reader: Reader) -> tuple[int, int]:
    """Return how many searches have not ended, and how many runs are final."""
    [(running,)] = reader.rows("SELECT count(*) FROM searches WHERE state IN ('running', 'paused')")
    [(final,)] = reader.rows(f"SELECT count(*) FROM runs WHERE state IN ('{_FINAL}')")
    return int(running), int(final)
