"""What must hold after whatever happened: reads traces, the store and the public interface, nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from augury.client import Client
from augury.run import FINAL_STATES, HELD_STATES, MAX_LOST_ATTEMPTS
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
    replay: Callable[[int, int], str],
) -> Findings:
    """Check I1 to I5; `in_flight` are the most runs of each search that a sample of the store has seen,
    `replay` says what is wrong with a bayesian search.
    """
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
            _replayed(findings, search, rows, replay)
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


def _replayed(
    findings: Findings, search: Submitted, rows: Sequence[tuple[Any, ...]], replay: Callable[[int, int], str]
) -> None:
    """I3: a bayesian search is what its sampler says again, given the arrivals that were recorded."""
    if objection := replay(search.id, search.parallel_runs):
        findings.object_to("I3", f"bayesian: {objection}")
    for run_id, _, state, values, objective, _ in rows:
        if state == "complete" and objective != json.loads(values)["x"]:
            findings.object_to("I3", f"run {run_id} has objective {objective}, its values are {values}")


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
