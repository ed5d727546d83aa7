"""`Run`: one run as the Python API shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augury.client.events import Silence, readings
from augury.client.outputs import OutputFile, copy_all, plan
from augury.client.times import moment, number, when
from augury.errors import UsageError, WaitError
from augury.run import FINAL_STATES

if TYPE_CHECKING:
    from augury.client.routes import Document, Routes

Point = tuple[datetime, int, float]

CONDITIONS: Mapping[str, Callable[[float, float], bool]] = {
    "eq": lambda left, right: left == right,
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
}


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a run's log: its output, or (`status_event`) a change of its state."""

    status: str
    log: str
    status_event: bool = False
    timestamp: datetime | None = None

    def __str__(self) -> str:
        return self.log


class LogReader:
    """Reads a run's output on, page by page."""

    def __init__(self, client: Routes, run_id: int, offset: int = 0) -> None:
        self._client = client
        self._run_id = run_id
        self.offset = offset
        self.complete = False
        """The run has ended and all its output has been read."""
        self.more = False
        """The last page held something, so another may wait."""

    def read(self) -> Document:
        """Return the next page; its text is empty when there is nothing new."""
        page = self._client.logs(self._run_id, offset=self.offset)
        self.complete = page["complete"]
        self.more = page["next_offset"] > self.offset and not self.complete
        self.offset = page["next_offset"]
        return page

    def pages(self, follow: bool) -> Iterator[Document]:
        """Yield all pages there are; with `follow`, those to come until the run has ended."""
        with self._client.doorbell(run=self._run_id) if follow else Silence() as bell:
            for page in readings(self.read, bell, seconds=None if follow else 0):
                yield page
                while self.more:
                    yield self.read()
                if self.complete:
                    return


class Run:
    """A run as it was when last read; `refresh` reads it again."""

    def __init__(self, client: Routes, document: Document) -> None:
        self._client = client
        self._document = document

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.status}: {self.command}>"

    @property
    def id(self) -> int:
        """The run's id."""
        return int(self._document["id"])

    @property
    def search_id(self) -> int | None:
        """The id of its search, None for a run of its own."""
        search: int | None = self._document["search_id"]
        return search

    @property
    def status(self) -> str:
        """Its state, one of the constants of `client.runs`."""
        return str(self._document["state"])

    @property
    def user_exit_code(self) -> int | None:
        """The exit code of its command, None until (or unless) it ended by itself."""
        code: int | None = self._document["exit_code"]
        return code

    @property
    def cause(self) -> str | None:
        """Why it ended as it did, such as `exit`, `signal` or `oom`."""
        cause: str | None = self._document["cause"]
        return cause

    @property
    def command(self) -> str:
        """The command it executes, values put in, in full precision."""
        return str(self._document["command"])

    @property
    def hyper_params(self) -> dict[str, Any]:
        """Its values by parameter name, as numbers where they are numbers."""
        return dict(self._document["params"])

    @property
    def objective(self) -> float | None:
        """The number it is judged by, None without one."""
        objective: float | None = self._document["objective"]
        return objective

    @property
    def created_at(self) -> datetime | None:
        """When it was created."""
        return when(self._document["queued_at"])

    @property
    def started_at(self) -> datetime | None:
        """When its last attempt started, None before."""
        return when(self._document["started_at"])

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, None before."""
        return when(self._document["ended_at"])

    @property
    def labels(self) -> list[str]:
        """Its labels (with those of its search)."""
        return list(self._detail("labels") or ())

    @property
    def description(self) -> str:
        """Its description, empty without one."""
        return str(self._detail("description") or "")

    @property
    def machine_type(self) -> str | None:
        """The machine type it asked for."""
        kind: str | None = self._detail("machine_type")
        return kind

    @property
    def metric_names(self) -> list[str]:
        """The names of the metrics it has reported so far."""
        return list(self._client.get_run(self.id)["metric_names"])

    def to_dict(self) -> Document:
        """Return the run as `--json` prints it."""
        return dict(self._document)

    def refresh(self) -> Run:
        """Read it again; returns itself."""
        self._document = self._client.get_run(self.id)
        return self

    def stop(self) -> None:
        """End it politely and keep its outputs; a queued one is killed."""
        self._client.stop_runs([self.id])
        self.refresh()

    def kill(self) -> None:
        """End it now and keep nothing."""
        self._client.kill_runs([self.id])
        self.refresh()

    def wait_status(self, *statuses: str, timeout: float | None = None) -> str:
        """Wait until it is in one of `statuses` and return that one.

        Raises:
            WaitError: it has ended in another state.
            TimeoutError: `timeout` seconds have passed.
        """
        if not statuses:
            raise UsageError("wait_status needs at least one state, such as *client.runs.FINAL")
        with self._client.doorbell(run=self.id) as bell:
            for _ in readings(self.refresh, bell, seconds=timeout):
                if self.status in statuses:
                    return self.status
                if self.status in FINAL_STATES:
                    raise WaitError(f"run {self.id} ended as {self.status}, not as {' or '.join(statuses)}")
        raise TimeoutError(f"run {self.id} is still {self.status} after {timeout} s")

    def wait_metric(self, name: str, cond: str, value: float, timeout: float | None = None) -> Point:
        """Wait for the first point of metric `name` that is `cond` (`eq gt gte lt lte`) `value`.

        Raises:
            WaitError: the run has ended without such a point.
            TimeoutError: `timeout` seconds have passed.
        """
        holds = CONDITIONS.get(cond)
        if holds is None:
            raise UsageError(f"unknown condition '{cond}': use one of {', '.join(CONDITIONS)}")
        for point in self._points(name, follow=True, seconds=timeout):
            if holds(point[2], value):
                return point
        if self.status in FINAL_STATES:
            raise WaitError(f"run {self.id} ended as {self.status} and never had {name} {cond} {value}")
        raise TimeoutError(f"run {self.id} had no {name} {cond} {value} within {timeout} s")

    def metrics(self, name: str, follow: bool = False, start: int | None = None) -> Iterator[Point]:
        """Yield the points (UTC time, index, value) of a metric, those with an index above `start`.

        With `follow` it goes on until the run has ended.
        """
        for point in self._points(name, follow):
            if start is None or point[1] > start:
                yield point

    def logs(self, follow: bool = False, offset: int = 0) -> Iterator[LogEntry]:
        """Yield the lines of its output from byte `offset`, between the changes of its state.

        With `follow` it goes on until the run has ended.
        """
        yield LogEntry("queued", "queued", True, self.created_at)
        rest, told = "", False
        for text in self.output(follow, offset):
            if not told:
                told = True
                yield LogEntry("running", "running", True, self.started_at)
            *lines, rest = (rest + text).split("\n")
            yield from (LogEntry("running", line) for line in lines)
        if rest:
            yield LogEntry("running", rest)
        if not told and self.started_at is not None:
            yield LogEntry("running", "running", True, self.started_at)
        if self.status in FINAL_STATES:
            yield LogEntry(self.status, self.status, True, self.ended_at)

    def output(self, follow: bool = False, offset: int = 0) -> Iterator[str]:
        """Yield its output from byte `offset` in pieces as they come; `follow` until the run has ended."""
        for page in LogReader(self._client, self.id, offset).pages(follow):
            if page["text"]:
                yield page["text"]
        self.refresh()

    def outputs(self) -> list[OutputFile]:
        """Return the files it has left in `AUGURY_OUTPUT_DIR`, once it has ended, in order of their paths."""
        return [OutputFile(one["path"], int(one["bytes"])) for one in self._client.outputs(self.id)]

    def download(self, path: str = "", dest: str | Path = ".", *, force: bool = False) -> list[Path]:
        """Copy a file or folder of its outputs (all without `path`) as `cp -r` would; returns the copies.

        Raises:
            NotFoundError: there is nothing at `path`.
            UsageError: a file exists and `force` is not given, or `dest` cannot be written.
        """
        copies = plan(self.id, self.outputs(), path.strip("/"), str(dest), force=force)
        copy_all(self._client, self.id, copies, Path(dest), lambda done: None)
        return [copy.target for copy in copies]

    def _points(self, name: str, follow: bool, seconds: float | None = None) -> Iterator[Point]:
        seen, cursor = 0, None
        with self._client.doorbell(run=self.id) if follow else Silence() as bell:
            for _ in readings(self.refresh, bell, seconds=seconds if follow else 0):
                ended = self.status in FINAL_STATES
                for page in self._client.point_pages(run=self.id, name=name, after=cursor):
                    for point in page["points"][seen:]:
                        yield moment(point["time"]), int(point["index"]), number(point["value"])
                    # The last page has no cursor of its own: it is read again, past what was seen.
                    seen = 0 if page["next"] is not None else len(page["points"])
                    cursor = cursor if page["next"] is None else page["next"]
                if ended:
                    return

    def _detail(self, key: str) -> Any:
        if key not in self._document:
            self.refresh()
        return self._document.get(key)
