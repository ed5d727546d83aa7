"""`Search`: one hyperparameter search as the Python API shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from augury.client.events import readings
from augury.client.run import Point, Run
from augury.client.times import moment, number, when
from augury.errors import WaitError
from augury.run import HELD_STATES, OPEN_SEARCH_STATES
from augury.spec import ParameterSpec, parameter_from_json

if TYPE_CHECKING:
    from augury.client.routes import Document, Routes

_ROW_COLUMNS = ("run_id", "state", "objective", "exit_code", "cause", "started_at", "ended_at")


def stalled(document: Document) -> bool:
    """Whether a search is paused with nothing in flight: nothing more happens by itself."""
    counts = document.get("counts") or {}
    return document["state"] == "paused" and not any(counts.get(state) for state in HELD_STATES)


class Search:
    """A search as it was when last read; `refresh` reads it again, runs included."""

    def __init__(self, client: Routes, document: Document) -> None:
        self._client = client
        self._document = document
        self._runs: list[Run] | None = None

    def __repr__(self) -> str:
        return f"<Search {self.id} {self.kind} {self.status}: {self.command}>"

    @property
    def id(self) -> int:
        """The search's id."""
        return int(self._document["id"])

    @property
    def kind(self) -> str:
        """`grid`, `random` or `bayesian`."""
        return str(self._document["kind"])

    @property
    def status(self) -> str:
        """Its state: `running`, `paused`, `finished`, `stopped` or `killed`."""
        return str(self._document["state"])

    @property
    def command(self) -> str:
        """Its command template."""
        return str(self._document["command"])

    @property
    def machine_type(self) -> str | None:
        """The machine type its runs ask for."""
        kind: str | None = self._document["machine_type"]
        return kind

    @property
    def parameter_spec(self) -> dict[str, ParameterSpec]:
        """Its parameters in the order they were given."""
        return {name: parameter_from_json(spec) for name, spec in self._document["space"].items()}

    @property
    def num_runs(self) -> int | None:
        """The maximum number of runs."""
        number: int | None = self._document["num_runs"]
        return number

    @property
    def seed(self) -> int | None:
        """The seed its draws depend on."""
        seed: int | None = self._document["seed"]
        return seed

    @property
    def creator(self) -> str | None:
        """The name of the user who created it."""
        owner: str | None = self._document["owner"]
        return owner

    @property
    def description(self) -> str:
        """Its description, empty without one."""
        return str(self._document.get("description") or "")

    @property
    def labels(self) -> list[str]:
        """Its labels."""
        return list(self._document["labels"])

    @property
    def created_at(self) -> datetime | None:
        """When it was created."""
        return when(self._document["created_at"])

    @property
    def started_at(self) -> datetime | None:
        """When its first run started, None before."""
        return min((run.started_at for run in self.runs if run.started_at), default=None)

    @property
    def ended_at(self) -> datetime | None:
        """When its last run ended, None before."""
        return when(self._document["ended_at"])

    @property
    def runs(self) -> list[Run]:
        """Its runs so far, ascending by id, as of the last `refresh`."""
        if self._runs is None:
            documents = self._document.get("runs")
            # A created search carries its first runs only; when those are all, a request is saved.
            if documents is None or len(documents) < self._document.get("created_runs", 0):
                documents = self._client.iter_runs(self.id)
            self._runs = [Run(self._client, document) for document in documents]
        return self._runs

    def to_dict(self) -> Document:
        """Return the search as `--json` prints it, without its runs."""
        return {key: value for key, value in self._document.items() if key != "runs"}

    def refresh(self) -> Search:
        """Read it again; returns itself."""
        self._document = self._client.get_search(self.id)
        self._runs = None
        return self

    def stop(self) -> None:
        """End it politely: running runs keep their outputs, queued ones are killed, no new ones come."""
        self._client.stop_search(self.id)
        self.refresh()

    def kill(self) -> None:
        """End it now: all runs that are not final are killed."""
        self._client.kill_search(self.id)
        self.refresh()

    def resume(self) -> None:
        """Let it go on when it is paused; raises `RefusedError` when it is not."""
        self._client.resume_search(self.id)
        self.refresh()

    def wait(self, timeout: float | None = None) -> Search:
        """Wait until it has ended; returns itself.

        Raises:
            WaitError: it is paused and nothing is in flight, so it does not end by itself.
            TimeoutError: `timeout` seconds have passed.
        """
        with self._client.doorbell(search=self.id) as bell:
            for _ in readings(self.refresh, bell, seconds=timeout):
                if self.status not in OPEN_SEARCH_STATES:
                    return self
                if stalled(self._document):
                    reason = self._document.get("pause_reason") or "no reason given"
                    raise WaitError(f"search {self.id} is paused: {reason}")
        raise TimeoutError(f"search {self.id} is still {self.status} after {timeout} s")

    def best(
        self, metric: str | None = None, metric_agg: str | None = None, goal: str | None = None
    ) -> Run | None:
        """Return the best complete run by the search's metric, or by the one given; None when none has it."""
        document = self._client.best(self.id, metric, metric_agg, goal)
        return None if document is None else Run(self._client, document)

    def metric_names(self) -> list[str]:
        """Return the names of all metrics its runs have reported."""
        return self._client.metric_names(self.id)

    def metrics(self, name: str) -> dict[int, Iterator[Point]]:
        """Return, for each run that has metric `name`, an iterator of (UTC time, index, value)."""
        points: dict[int, list[Point]] = {}
        for point in self._client.iter_points(search=self.id, name=name):
            entry = (moment(point["time"]), int(point["index"]), number(point["value"]))
            points.setdefault(point["run_id"], []).append(entry)
        return {run: iter(entries) for run, entries in points.items()}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat dictionary for each run, ready for a data frame or a CSV writer.

        A parameter whose name is one of the other columns is called `param.<name>`.
        """
        rows = []
        for run in self.runs:
            values = {
                f"param.{name}" if name in _ROW_COLUMNS else name: value
                for name, value in run.hyper_params.items()
            }
            ends = {"started_at": run.started_at, "ended_at": run.ended_at}
            result = {"objective": run.objective, "exit_code": run.user_exit_code, "cause": run.cause}
            rows.append({"run_id": run.id, "state": run.status, **values, **result, **ends})
        return rows
