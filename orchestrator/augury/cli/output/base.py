"""What a renderer can print; each method prints one answer on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Judge:
    """By what runs are judged; `metric` is None when a search names none."""

    metric: str | None
    agg: str
    goal: str

    def __str__(self) -> str:
        return f"{self.agg} of {self.metric}, {self.goal}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a stop or kill has done, by run id."""

    stopped: Sequence[int] = ()
    killed: Sequence[int] = ()
    final: Sequence[int] = ()
    unknown: Sequence[int] = ()

    @staticmethod
    def to_stop(answer: Document) -> Asked:
        """Read the server's answer to a stop."""
        return Asked(*(tuple(answer.get(key, ())) for key in ("stopped", "killed", "final", "unknown")))

    @staticmethod
    def to_kill(answer: Document) -> Asked:
        """Read the server's answer to a kill: none of them is stopped politely."""
        asked = Asked.to_stop(answer)
        return replace(asked, stopped=(), killed=tuple(sorted([*asked.stopped, *asked.killed])))


class Renderer(Protocol):
    """Prints answers; `runs` may be a lazy listing, read only as far as needed."""

    def cast(self, search: Document, runs: Iterable[Document], dry_run: bool) -> None:
        """Print a search just created (or, in a dry run, only drawn up)."""

    def searches(self, searches: Sequence[Document]) -> None:
        """Print a list of searches, oldest first."""

    def search(self, search: Document, runs: Iterable[Document], judge: Judge) -> None:
        """Print all about one search; `runs` carry their objective by `judge`."""

    def waited(self, search: Document, runs: Iterable[Document]) -> None:
        """Print how a search has ended."""

    def best(self, search: Document, run: Document | None, judge: Judge) -> None:
        """Print the best run of a search."""

    def search_asked(self, search: Document, asked: Asked) -> None:
        """Print what a stop or kill of a search has done."""

    def search_resumed(self, search: Document) -> None:
        """Print that a paused search goes on."""

    def launched(self, run: Document) -> None:
        """Print a run just created."""

    def runs(self, runs: Sequence[Document]) -> None:
        """Print a list of runs, oldest first."""

    def run(self, run: Document) -> None:
        """Print all about one run."""

    def runs_asked(self, asked: Asked) -> None:
        """Print what a stop or kill of runs has done."""

    def tokens(self, tokens: Sequence[Document]) -> None:
        """Print whom there are tokens for."""

    def outputs(self, run_id: int, files: Sequence[Document]) -> None:
        """Print the files that a run has left."""

    def copied(self, names: Sequence[str], size: int) -> None:
        """Print what was copied, `size` bytes in all."""

    def status(self, status: Document) -> None:
        """Print the state of an instance."""

    def workers(self, answer: Document) -> None:
        """Print the workers and the queues."""

    def said(self, document: Document, sentence: str, name: object) -> None:
        """Print what a small command has done: as a document, a sentence, or the name of what it is about."""

    def checks(self, checks: Sequence[Document]) -> None:
        """Print the findings of `doctor`: each has `name`, `ok` and `text`."""
