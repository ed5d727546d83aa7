"""An open search as the controller knows it, read back from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from augury.controller.sampling import Sampling, warm_up
from augury.controller.state import SearchProgress
from augury.run import OPEN_STATES
from augury.spec import Value, number_of_runs
from augury.store import events, points, runs, searches
from augury.store.database import Connection
from augury.store.records import RunRecord, SearchRecord
from augury_samplers import Observation

LEARNS_FROM = ("complete", "failed")
"""Final states that say something about the values of a run."""


@dataclass
class Learning:
    """What an adaptive search has to hand its sampler."""

    sampling: Sampling
    observations: list[Observation] = field(default_factory=list)
    pending: dict[int, dict[str, Value]] = field(default_factory=dict)
    memo: dict[str, Any] | None = None


def learning_of(sampling: Sampling | None) -> Learning | None:
    """Return what a new search has learnt, nothing yet; None when it does not learn."""
    if sampling is None or not sampling.adaptive:
        return None
    warm_up()
    return Learning(sampling)


def restore(connection: Connection, record: SearchRecord) -> tuple[SearchProgress, Learning | None]:
    """Return how far a search is, and what it has learnt when it is one that learns."""
    spec = record.spec
    learning = learning_of(Sampling(spec)) if spec.kind == "bayesian" else None
    progress = SearchProgress(
        record.id,
        record.queue,
        adaptive=learning is not None,
        limit=spec.parallel_runs,
        num_runs=number_of_runs(spec),
        metric=spec.metric,
        created=record.created_runs,
        paused=record.state == "paused",
        want=record.want,
    )
    for run_id, token, state in runs.open_tokens(connection, record.id):
        progress.tokens[run_id] = token
        if state == "queued":
            progress.waiting.append(run_id)
        else:
            progress.held.add(run_id)
    progress.final = progress.created - progress.open_runs
    if spec.metric is None and learning is None:
        return progress, None
    landed = [run for run in searches.landed_runs(connection, record.id) if run.state in LEARNS_FROM]
    if spec.metric is not None:
        _count_metrics(connection, landed, spec.metric, progress)
    if learning is not None:
        _learn_again(connection, record, landed, learning)
    return progress, learning


def _count_metrics(
    connection: Connection, landed: Sequence[RunRecord], metric: str, progress: SearchProgress
) -> None:
    """Count the runs with their metric, and those without it since the search was last resumed."""
    reported = points.reported(connection, progress.id, metric)
    since = events.last_change(connection, progress.id)
    for run in landed:
        progress.with_metric += run.id in reported
        progress.without_metric += run.id not in reported and (run.landed or 0) > since


def _learn_again(
    connection: Connection, record: SearchRecord, landed: Sequence[RunRecord], learning: Learning
) -> None:
    learning.memo = record.memo
    learning.observations = [learning.sampling.observation(run) for run in landed]
    for run in runs.of_search(connection, record.id):
        if run.state in OPEN_STATES:
            learning.pending[run.id] = learning.sampling.values_of(run.assignment)
