"""The keys of `--json`, in order: what programs may rely on, and nothing more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Document = Mapping[str, Any]

SEARCH = (
    "id", "kind", "state", "command", "machine_type", "metric", "metric_agg", "goal", "num_runs",
    "parallel_runs", "seed", "space", "owner", "labels", "created_at", "ended_at",
    "counts", "notices", "pause_reason",
)  # fmt: skip
RUN = (
    "id", "search_id", "state", "params", "command", "objective", "exit_code", "cause", "attempts", "worker",
    "queued_at", "started_at", "ended_at",
)  # fmt: skip
#: What `info` adds to a run.
RUN_DETAIL = (
    "labels",
    "description",
    "machine_type",
    "cwd",
    "snapshot",
    "detail",
    "attempt_list",
    "metric_names",
    "output_files",
)


def run(document: Document) -> dict[str, Any]:
    """Return a run as `--json` prints it."""
    return {key: document.get(key) for key in RUN}


def run_detail(document: Document) -> dict[str, Any]:
    """Return a run as `info --json` prints it."""
    return run(document) | {key: document.get(key) for key in RUN_DETAIL}


def search(document: Document, runs: Iterable[Document] | None = None) -> dict[str, Any]:
    """Return a search as `--json` prints it; without `runs` it has no such key, as in a list of searches."""
    found: dict[str, Any] = {key: document.get(key) for key in SEARCH}
    if runs is not None:
        found["runs"] = [run(item) for item in runs]
    best = document.get("best")
    found["best"] = None if best is None else run(best)
    return found
