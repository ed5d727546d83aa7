"""`python -m tests.torture.replay DATABASE_URL SEARCH PARALLEL_RUNS`: choose a bayesian search's runs again.

A process of its own, in the environment the server had: other linear algebra kernels give other last bits.

How many results were known when a run was chosen is not recorded: it is searched for, between what must
have been known and what had arrived by then. With another number it would have been another run; where two
lead to the same values, at the edge of a space, both are followed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from augury.controller.restoring import LEARNS_FROM
from augury.controller.sampling import Sampling
from augury.spec import SearchSpec, text_of
from augury.store.records import Assignment
from augury_samplers import Observation
from tests.torture.stand import Reader

Row = tuple[Any, ...]
"""Id, position, state, values, objective, landed."""


@dataclass(frozen=True)
class Way:
    """How a search may have come about so far: arrivals known at its last choice, and the sampler's memo."""

    known: int = 0
    memo: str = "null"


def objection(reader: Reader, search_id: int, parallel_runs: int) -> str:
    """Return what cannot be had from the recorded arrivals; empty when all can."""
    rows = reader.rows(
        'SELECT id, position, state, "values", objective, landed FROM runs '
        f"WHERE search_id = {search_id} ORDER BY position"
    )
    [(text,)] = reader.rows(f"SELECT spec FROM searches WHERE id = {search_id}")
    sampling = Sampling(SearchSpec.from_json(json.loads(text)))
    made = reader.rows(
        f"SELECT id, data FROM events WHERE kind = 'runs' AND search_id = {search_id} ORDER BY id"
    )
    born = [event for event, data in made for _ in range(json.loads(data)["count"])]
    landed = sorted((row for row in rows if row[5] is not None), key=lambda row: row[5])
    ways = [Way()]
    for position in range(len(rows)):
        most = sum(row[5] < born[position] for row in landed)
        upto = rows[: position + 1]
        if not (ways := _continued(sampling, upto, landed[:most], position + 1 - parallel_runs, ways)):
            return f"run number {position} is not what its arrivals give"
    return ""


def _continued(
    sampling: Sampling, rows: Sequence[Row], landed: Sequence[Row], least: int, ways: Sequence[Way]
) -> list[Way]:
    """Return the ways to the last of `rows`, each with `least` arrivals known or more."""
    found = set()
    for way in ways:
        for known in range(max(way.known, least), len(landed) + 1):
            suggested, memo = _suggest(sampling, rows[:-1], landed[:known], json.loads(way.memo))
            if suggested == rows[-1][3]:
                found.add(Way(known, json.dumps(memo)))
    return sorted(found, key=lambda way: way.known)


def _suggest(
    sampling: Sampling, before: Sequence[Row], landed: Sequence[Row], memo: Any
) -> tuple[str | None, Any]:
    told = {row[0] for row in landed}
    observations = [Observation(_values(sampling, row), row[4]) for row in landed if row[2] in LEARNS_FROM]
    pending = [_values(sampling, row) for row in before if row[0] not in told]
    assignment, memo = sampling.suggest(observations, pending, len(before), memo)
    return (None if assignment is None else json.dumps(dict(assignment.values))), memo


def _values(sampling: Sampling, row: Row) -> dict[str, Any]:
    values = json.loads(row[3])
    return sampling.values_of(Assignment(values, {name: text_of(value) for name, value in values.items()}))


if __name__ == "__main__":
    print(objection(Reader(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
