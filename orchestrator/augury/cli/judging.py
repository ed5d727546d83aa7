"""Judging the runs of a search by its own metric, or afterwards by another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from augury.cli import losses
from augury.cli.notices import say
from augury.cli.options import Judged
from augury.cli.output import text
from augury.cli.output.base import Document, Judge
from augury.errors import UsageError
from augury.objective import Point, aggregate
from augury.spec import Aggregation

if TYPE_CHECKING:
    from augury.client.client import Client


def judge_of(search: Document, options: Judged) -> Judge:
    """Return by what the runs of `search` are judged when the user gave `options`.

    Another metric than the search's own starts from the defaults, not from the search's goal.
    """
    if options.metric is not None and not options.metric.strip():
        raise UsageError("--metric is empty: name one, or leave the option out")
    own = options.metric is None or options.metric == search["metric"]
    return Judge(
        metric=options.metric or search["metric"],
        agg=options.metric_agg or (search["metric_agg"] if own else None) or "last",
        goal=options.goal or (search["goal"] if own else None) or "maximize",
    )


def is_own(search: Document, judge: Judge) -> bool:
    """Whether `judge` is the search's own, so that the stored objectives hold."""
    return judge.metric is None or (judge.metric, judge.agg) == (search["metric"], search["metric_agg"])


def needed(client: Client, search: Document, judge: Judge) -> Judge:
    """Return `judge`; raises `UsageError` naming the metrics there are when it names none."""
    if judge.metric is None:
        names = text.names(client.metric_names(search["id"])) or "none so far"
        raise UsageError(f"search {search['id']} names no metric: add --metric NAME (reported: {names})")
    return judge


def best(client: Client, search: Document, judge: Judge) -> dict[str, Any] | None:
    """Return the best run by `judge`, None when no run has that metric."""
    if judge.metric is None:
        return None
    if is_own(search, judge) and judge.goal == search["goal"] and "best" in search:
        return cast("dict[str, Any] | None", search["best"])
    return client.best(search["id"], judge.metric, judge.agg, judge.goal)


def warn(judge: Judge, options: Judged) -> None:
    """Say on stderr when a loss is about to be maximised and the user did not ask for that."""
    if options.goal is None and (warning := losses.warning(judge.metric, judge.goal)):
        say(warning)


def judged_runs(client: Client, search: Document, judge: Judge) -> Iterator[Document]:
    """Yield the runs of a search with their objective by `judge`."""
    runs = client.iter_runs(search["id"])
    if is_own(search, judge):
        return runs
    points: dict[int, list[Point]] = {}
    for point in client.iter_points(search=search["id"], name=judge.metric):
        entry = Point(point["index"], float(point["value"]), 0.0)
        points.setdefault(point["run_id"], []).append(entry)
    return _rejudged(runs, points, cast("Aggregation", judge.agg))


def _rejudged(
    runs: Iterable[Document], points: dict[int, list[Point]], agg: Aggregation
) -> Iterator[Document]:
    for run in runs:
        yield {**run, "objective": aggregate(points.get(run["id"], ()), agg)}
