"""The default: tables and sentences for people."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from augury.cli.output import fleet, text
from augury.cli.output.base import Asked, Document, Judge
from augury.run import OPEN_SEARCH_STATES

#: Rows shown of a search just created, and of one described.
CAST_ROWS, DESCRIBE_ROWS = 20, 1000


def write(lines: Iterable[str]) -> None:
    """Print lines."""
    sys.stdout.writelines(line + "\n" for line in lines)


def room() -> int | None:
    """Return the columns of the terminal, None when stdout is none: then nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def facts(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield `Name  value` lines, names padded to the same width; empty values are left out."""
    shown = [(name, value) for name, value in pairs if value]
    size = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        yield f"  {name.ljust(size)}  {value}"


def parameter(spec: Document) -> str:
    """Return a parameter of a search as people wrote it."""
    if "values" in spec:
        return ", ".join(text.cell(item) for item in spec.get("texts") or spec["values"])
    return f"{text.number(spec['min'])} to {text.number(spec['max'])}, {spec['scaling']} {spec['type']}"


def counted(counts: Document) -> str:
    """Return `5 complete, 1 failed` from the counts by state."""
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)


def ids(numbers: Sequence[int]) -> str:
    """Return `401, 402, 403`, the middle of a long list left out."""
    if len(numbers) > 12:
        return f"{', '.join(map(str, numbers[:5]))}, … {numbers[-1]} ({len(numbers):,} in all)"
    return ", ".join(map(str, numbers))


def copyable(command: str) -> str:
    """Return a command to copy: its line breaks stay, other control characters are escaped."""
    return "\n".join(text.plain(line) for line in command.split("\n"))


class TableRenderer:
    """Prints for people; six significant digits in tables, full precision in commands."""

    def cast(self, search: Document, runs: Iterable[Document], dry_run: bool) -> None:
        """Print the casting line, the first runs, and what to do next."""
        names = list(search["space"])
        total = search.get("created_runs") or (0 if search["kind"] == "bayesian" else search["num_runs"] or 0)
        first = list(islice(runs, CAST_ROWS))
        total = max(total, len(first))
        if dry_run:
            all_of_them = search.get("num_runs") or total
            write([f"A dry run of {all_of_them:,} {search['kind']} runs: nothing is created."])
        else:
            write([f"💫 Casting hyperparameter search #{search['id']}…"])
        if dry_run:
            rows = [[*self._values(names, run), text.plain(run["command"])] for run in first]
        else:
            rows = [[*self._values(names, run), str(run["id"])] for run in first]
        write(text.table([*map(text.plain, names), "Command" if dry_run else "Run ID"], rows))
        if total > len(first):
            write([f"… and {total - len(first):,} more"])
        maximum = search.get("num_runs") or total
        if maximum > total:
            write([f"up to {maximum - total:,} more follow, each chosen with the results so far"])
        if search["kind"] != "grid" and search["seed"] is not None:
            write([f"Drawn with --seed {search['seed']}"])
        if not dry_run:
            number = search["id"]
            # Without a metric there is no best run to ask for.
            second = (
                f"Best so far: augury hyper best {number}"
                if search["metric"]
                else f"Its runs: augury hyper describe {number}"
            )
            write([f"Follow it: augury hyper watch {number}    {second}"])

    def searches(self, searches: Sequence[Document]) -> None:
        """Print a line for each search."""
        columns = ["ID", "TYPE", "STATE", "RUNS", "BEST", "CREATED", "OWNER", "COMMAND"]
        rows = [
            [
                str(search["id"]),
                search["kind"],
                text.state(search),
                f"{search.get('created_runs') or 0:,}",
                text.cell((search.get("best") or {}).get("objective")),
                text.moment(search["created_at"]),
                text.cell(search["owner"]),
                text.plain(search["command"]),
            ]
            for search in searches
        ]
        write(
            text.table(columns, rows, room())
            if rows
            else ["No searches to show: `augury hyper --help` tells how to start one."]
        )

    def search(self, search: Document, runs: Iterable[Document], judge: Judge) -> None:
        """Print what the search is, how far it is, and its runs."""
        write([f"Search #{search['id']}"])
        write(facts(self._search_facts(search, judge)))
        write(["  Parameters"])
        write(f"    {text.plain(name)} = {parameter(spec)}" for name, spec in search["space"].items())
        write([""])
        names = list(search["space"])
        columns = ["Run ID", "Status", "Duration", *map(text.plain, names), "Objective"]
        shown = list(islice(runs, DESCRIBE_ROWS))
        rows = [
            [
                str(run["id"]),
                text.state(run),
                text.took(run),
                *self._values(names, run),
                text.cell(run["objective"]),
            ]
            for run in shown
        ]
        write(text.table(columns, rows))
        if (hidden := (search.get("created_runs") or 0) - len(shown)) > 0:
            write([f"… and {hidden:,} more (--json has all)"])

    def waited(self, search: Document, runs: Iterable[Document]) -> None:
        """Print how it ended and where the best run is."""
        number, counts = search["id"], counted(search.get("counts") or {})
        write([f"Search #{number} is {search['state']}: {counts or 'no runs'}"])
        if search.get("pause_reason"):
            write([f"Why: {text.plain(search['pause_reason'])}"])
        if best := search.get("best"):
            value = text.cell(best["objective"])
            write([f"Best: {value} by run {best['id']}    augury hyper best {number}"])
        elif search["metric"] and search.get("notices"):
            write([f"Notice: {text.plain(search['notices'][-1])}"])
        if failed := next((run for run in runs if run["state"] == "failed"), None):
            write([f"First failure: augury logs {failed['id']}"])

    def best(self, search: Document, run: Document | None, judge: Judge) -> None:
        """Print values, objective, run id and the command to copy, in full precision."""
        if run is None:
            return
        write([f"Best run of search #{search['id']}: {run['id']}  ({text.plain(str(judge))})"])
        values = [(text.plain(name), _full(value)) for name, value in run["params"].items()]
        write(facts([*values, ("objective", _full(run["objective"]))]))
        write(["", copyable(run["command"])])

    def search_asked(self, search: Document, asked: Asked) -> None:
        """Print what ends and what had ended before."""
        state = "ending" if search["state"] in OPEN_SEARCH_STATES else search["state"]
        write([f"Search #{search['id']} is {state}."])
        self._asked(asked)

    def search_resumed(self, search: Document) -> None:
        """Print that the search goes on."""
        write([f"Search #{search['id']} goes on."])

    def launched(self, run: Document) -> None:
        """Print the casting line."""
        write([f"💫 Casting run #{run['id']}…"])

    def runs(self, runs: Sequence[Document]) -> None:
        """Print a line for each run."""
        columns = ["ID", "SEARCH", "STATUS", "STARTED", "DURATION", "COMMAND"]
        rows = [
            [
                str(run["id"]),
                text.cell(run["search_id"]),
                text.state(run),
                text.moment(run["started_at"]),
                text.took(run),
                text.plain(run["command"]),
            ]
            for run in runs
        ]
        write(text.table(columns, rows, room()) if rows else ["No runs."])

    def run(self, run: Document) -> None:
        """Print all about a run, its attempts when there was more than one."""
        write([f"Run #{run['id']}"])
        write(facts(_run_facts(run)))
        if run["params"]:
            write(["  Hyperparameters"])
            write(f"    {text.plain(name)} = {_full(value)}" for name, value in run["params"].items())
        attempts = run.get("attempt_list") or ()
        if len(attempts) > 1:
            write([""])
            rows = [
                [str(item["attempt"]), text.state(item), text.cell(item["worker"]), text.took(item)]
                for item in attempts
            ]
            write(text.table(["Attempt", "Status", "Worker", "Duration"], rows))

    def runs_asked(self, asked: Asked) -> None:
        """Print what ends, what had ended before, and what does not exist."""
        self._asked(asked)
        if asked.unknown:
            write([f"no such run: {ids(asked.unknown)}"])

    def tokens(self, tokens: Sequence[Document]) -> None:
        """Print a table of names and ages."""
        rows = [
            [
                text.plain(token["name"]),
                text.duration(text.seconds_between(token["created_at"], None)) + " ago",
            ]
            for token in tokens
        ]
        write(text.table(["USER", "MADE"], rows))

    def outputs(self, run_id: int, files: Sequence[Document]) -> None:
        """Print size and path of each file, then the sum."""
        rows = [[text.size(file["bytes"]), text.plain(file["path"])] for file in files]
        write(text.table(["Size", "Path"], rows))
        total = text.size(sum(file["bytes"] for file in files))
        write([f"{len(files):,} file{'' if len(files) == 1 else 's'}, {total}"])

    def copied(self, names: Sequence[str], size: int) -> None:
        """Print one sentence."""
        what = text.plain(names[0]) if len(names) == 1 else f"{len(names):,} files"
        write([f"Copied {what}, {text.size(size)}"])

    def status(self, status: Document) -> None:
        """Print the instance and its workers."""
        started = status.get("started_at")
        write(
            facts(
                [
                    ("Instance", f"{status['instance']} (Augury {status['version']}), {status['url']}"),
                    (
                        "Server",
                        f"pid {status['pid']}, up {text.duration(text.seconds_between(started, None))}",
                    ),
                    ("Searches", f"{status['open_searches']:,} open"),
                    ("Runs", f"{status['running']:,} running, {status['queued']:,} queued"),
                    ("Slots", _slots(status)),
                ]
            )
        )
        workers = status.get("workers") or ()
        if not workers:
            advice = (
                "`augury doctor` says why" if status["instance"] == "local" else "see `augury worker --help`"
            )
            write([f"  No worker is up, queued runs wait: {advice}."])
            return
        rows = [
            [
                text.plain(worker["name"]),
                text.plain(worker["host"]),
                text.plain(", ".join(worker["types"])),
                f"{worker.get('busy', '?')}/{worker['slots']}",
                text.duration(worker["last_seen_seconds"]) + " ago",
                fleet.state(worker),
            ]
            for worker in workers
        ]
        write(["", *text.table(["WORKER", "HOST", "TYPES", "BUSY", "LAST SEEN", "STATE"], rows)])

    def workers(self, answer: Document) -> None:
        """Print a line for each worker and each queue."""
        write(fleet.lines(answer))

    def said(self, document: Document, sentence: str, name: object) -> None:
        """Print the sentence."""
        write([sentence])

    def checks(self, checks: Sequence[Document]) -> None:
        """Print a line for each check."""
        for check in checks:
            write([f"{'ok  ' if check['ok'] else 'FAIL'}  {check['name']}: {check['text']}"])
            if not check["ok"] and check.get("fix"):
                write([f"      fix: {check['fix']}"])

    def _values(self, names: Sequence[str], run: Document) -> list[str]:
        return [text.cell(run["params"].get(name)) for name in names]

    def _search_facts(self, search: Document, judge: Judge) -> list[tuple[str, str]]:
        state = text.state(search)
        if search.get("pause_reason"):
            state += f" ({text.plain(search['pause_reason'])})"
        best = search.get("best")
        sampled = search["kind"] != "grid"
        limits = [f"at most {search['num_runs']:,}" if sampled and search["num_runs"] else ""]
        limits.append(f"{search['parallel_runs']} at a time" if search["parallel_runs"] else "")
        length = text.seconds_between(search["created_at"], search["ended_at"])
        return [
            ("Type", search["kind"]),
            ("Status", state),
            ("Runs", "; ".join(filter(None, [counted(search.get("counts") or {}), *limits]))),
            ("Waiting", text.plain(search.get("waiting") or "")),
            ("Command", text.plain(search["command"])),
            ("Machine type", text.cell(search["machine_type"]) if search["machine_type"] else ""),
            ("Judged by", text.plain(str(judge)) if judge.metric else ""),
            ("Best", f"{text.cell(best['objective'])} by run {best['id']}" if best else ""),
            ("Seed", text.cell(search["seed"]) if sampled else ""),
            ("Created", f"{text.moment(search['created_at'])} by {text.cell(search['owner'])}"),
            ("Duration", text.duration(length)),
            ("Labels", ", ".join(map(text.plain, search["labels"]))),
            ("Description", text.plain(search.get("description") or "")),
            *(("Notice", text.plain(notice)) for notice in search.get("notices") or ()),
        ]

    def _asked(self, asked: Asked) -> None:
        for numbers, what in (
            (asked.stopped, "stopping"),
            (asked.killed, "killing"),
            (asked.final, "already ended"),
        ):
            if numbers:
                write([f"{what}: {ids(numbers)}"])


def _slots(status: Document) -> str:
    """Return how many slots a local instance has, and what set them; empty for a cluster."""
    if not status.get("slots_from"):
        return ""
    count = sum(worker["slots"] for worker in status.get("workers") or ())
    return f"{count} ({text.plain(status['slots_from'])})"


def _directory(run: Document) -> str:
    cwd, snapshot = run.get("cwd") or "", run.get("snapshot")
    return f"{cwd or '.'} in snapshot {snapshot[:12]}" if snapshot else cwd


def _full(value: Any) -> str:
    """Return a value in full precision."""
    return repr(value) if isinstance(value, float) else text.cell(value)


def _outputs(run: Document) -> str:
    count = run.get("output_files", 0)
    if count is None:
        return "they cannot be read"
    return f"{count:,} file{'' if count == 1 else 's'}: augury ls runs/{run['id']}" if count else ""


def _run_facts(run: Document) -> list[tuple[str, str]]:
    return [
        ("Status", text.state(run)),
        ("Why", text.plain(run.get("detail") or "")),
        ("Search", text.cell(run["search_id"]) if run["search_id"] is not None else ""),
        ("Command", text.plain(run["command"])),
        ("Directory", text.plain(_directory(run))),
        ("Machine type", text.plain(run.get("machine_type") or "")),
        ("Worker", text.plain(run["worker"] or "")),
        ("Attempts", text.cell(run["attempts"])),
        ("Queued", text.moment(run["queued_at"])),
        ("Started", text.moment(run["started_at"])),
        ("Ended", text.moment(run["ended_at"])),
        ("Duration", text.took(run)),
        ("Objective", "" if run["objective"] is None else _full(run["objective"])),
        ("Outputs", _outputs(run)),
        ("Metrics", text.names(run.get("metric_names") or (), 100)),
        ("Labels", ", ".join(map(text.plain, run.get("labels") or ()))),
        ("Description", text.plain(run.get("description") or "")),
    ]
