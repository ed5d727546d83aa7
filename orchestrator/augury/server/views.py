"""Searches and runs as the JSON that users see: the contract of `--json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from augury.controller.submission import Plan
from augury.grammar import template
from augury.spec import SearchSpec
from augury.store.points import RunPoint
from augury.store.records import Assignment, AttemptRecord, RunRecord, SearchRecord
from augury_workers.protocol import encode_value


def iso(time: float | None) -> str | None:
    """Return seconds since 1970 as ISO 8601 in UTC, with microseconds."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def search_json(
    search: SearchRecord,
    *,
    counts: Mapping[str, int],
    best: dict[str, Any] | None,
    runs: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return a search; `runs` only where they are asked for."""
    document = _spec_json(search.spec) | {
        "id": search.shown_id,
        "state": search.state,
        "owner": search.owner,
        "created_at": iso(search.created_at),
        "ended_at": iso(search.ended_at),
        "created_runs": search.created_runs,
        "counts": dict(counts),
        "notices": list(search.notices),
        "pause_reason": search.pause_reason,
        "want": search.want,
        "best": best,
    }
    if runs is not None:
        document["runs"] = list(runs)
    return document


def planned_json(plan: Plan, notices: Sequence[str], most: int) -> dict[str, Any]:
    """Return what a dry run shows: a search without an id, its first runs without theirs."""
    runs = [
        {"id": None, "state": None, "params": dict(one.values), "command": command_text(plan.spec, one)}
        for one in plan.assignments[:most]
    ]
    return _spec_json(plan.spec) | {
        "id": None,
        "state": None,
        "num_runs": plan.num_runs,
        "notices": list(notices),
        "runs": runs,
    }


def _spec_json(spec: SearchSpec) -> dict[str, Any]:
    return {
        "kind": spec.kind,
        "command": template.display(spec.command),
        "machine_type": spec.machine_type,
        "metric": spec.metric,
        "metric_agg": spec.metric_agg if spec.metric else None,
        "goal": spec.goal,
        "num_runs": spec.num_runs,
        "parallel_runs": spec.parallel_runs,
        "seed": spec.seed,
        "space": {name: parameter.to_json() for name, parameter in spec.space.items()},
        "labels": list(spec.labels),
        "description": spec.description,
    }


def command_text(spec: SearchSpec, assignment: Assignment) -> str:
    """Return the command of a run as one line for people."""
    return template.display(template.render(spec.command, assignment.texts))


def run_json(run: RunRecord, search: SearchRecord) -> dict[str, Any]:
    """Return a run."""
    objective = run.objective if run.objective is not None and math.isfinite(run.objective) else None
    return {
        "id": run.id,
        "search_id": search.shown_id,
        "state": run.state,
        "want": run.want,
        "params": dict(run.assignment.values),
        "command": command_text(search.spec, run.assignment),
        "objective": objective,
        "exit_code": run.exit_code,
        "cause": run.cause,
        "attempts": run.attempts,
        "worker": run.worker,
        "queued_at": iso(run.queued_at),
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
    }


def run_details(
    run: RunRecord,
    search: SearchRecord,
    attempts: Sequence[AttemptRecord],
    metric_names: Sequence[str],
    output_files: int | None,
) -> dict[str, Any]:
    """Return a run with all that is known of it."""
    return run_json(run, search) | {
        "labels": list(search.spec.labels),
        "description": search.spec.description,
        "machine_type": search.spec.machine_type,
        "cwd": search.spec.cwd,
        "snapshot": search.spec.snapshot,
        "detail": run.detail,
        "metric_names": list(metric_names),
        "output_files": output_files,
        "attempt_list": [
            {
                "attempt": attempt.number,
                "state": attempt.state,
                "worker": attempt.worker,
                "started_at": iso(attempt.started_at),
                "ended_at": iso(attempt.ended_at),
                "exit_code": attempt.exit_code,
                "cause": attempt.cause,
            }
            for attempt in attempts
        ],
    }


def point_json(point: RunPoint) -> dict[str, Any]:
    """Return a metric point; a value that is not finite as a string."""
    return {
        "run_id": point.run_id,
        "name": point.name,
        "index": point.point.index,
        "value": encode_value(point.point.value),
        "time": iso(point.point.time),
    }
