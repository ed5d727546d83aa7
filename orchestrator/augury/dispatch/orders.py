"""Orders: what an attempt is told to execute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augury.grammar import template
from augury.store.records import RunRecord, SearchRecord
from augury_workers import protocol


def build(
    instance: str,
    search: SearchRecord,
    run: RunRecord,
    environments: Path | None,
    lost_after: float | None,
    blobs: str | None = None,
) -> dict[str, Any]:
    """Return the order for the attempt that holds `run`.

    `environments` is the folder of the 0600 files with the submitters' variables; None on a cluster.
    `lost_after` is the time in seconds after which the server gives a silent attempt up, unless the search
    says otherwise: before that it has to end by itself. None on the local instance. `blobs` is the folder of
    the files that are kept, where the worker writes them itself; None on a cluster, where it sends them over
    HTTP.
    """
    spec = search.spec
    assignment = run.assignment
    command = template.render(spec.command, assignment.texts)
    file = str(environments / f"{search.environment}.json") if environments and search.environment else None
    order: dict[str, Any] = {
        "v": protocol.VERSION,
        "instance": instance,
        "run": run.id,
        "search": search.shown_id,
        "token": run.token,
        "nonce": run.nonce,
        "attempt": run.attempts,
        "queue": search.queue,
        "cwd": spec.cwd,
        "env": {"file": file, "set": dict(spec.env)},
        "umask": spec.umask,
        "params": _parameters(run),
        "param_env": template.environment_of(assignment.texts),
        "metric_regex": [list(pair) for pair in spec.metric_regex],
        "grace": spec.grace,
        "timeout": spec.timeout,
        "lost_after": patience(search, lost_after),
        "prepare": {"snapshot": spec.snapshot} if spec.snapshot is not None else None,
        "outputs": True,
        "blobs": blobs,
    }
    if command.shell:
        order["shell"] = command.shell
    else:
        order["argv"] = list(command.argv)
    return order


def patience(search: SearchRecord, lost_after: float | None) -> float | None:
    """Return after how many seconds a silent attempt of a search is given up; None: never.

    `lost_after` is what holds where the search says nothing, None where nobody is given up for silence.
    """
    return None if lost_after is None else (search.spec.lost_after or lost_after)


def _parameters(run: RunRecord) -> Mapping[str, Any]:
    assignment = run.assignment
    return {
        name: {"value": value, "text": assignment.texts[name]} for name, value in assignment.values.items()
    }
