"""`--quiet`: ids only, one a line, for shells."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from augury.cli.output.base import Asked, Document, Judge
from augury.cli.output.text import plain


def write(ids: Iterable[object]) -> None:
    """Print one id a line."""
    sys.stdout.writelines(f"{item}\n" for item in ids)


class QuietRenderer:
    """Prints the id of what an answer is about, the ids of runs where it is about several."""

    def cast(self, search: Document, runs: Iterable[Document], dry_run: bool) -> None:
        """Print the search's id; nothing in a dry run."""
        write([] if dry_run else [search["id"]])

    def searches(self, searches: Sequence[Document]) -> None:
        """Print the ids of the searches."""
        write(search["id"] for search in searches)

    def search(self, search: Document, runs: Iterable[Document], judge: Judge) -> None:
        """Print the ids of its runs."""
        write(run["id"] for run in runs)

    def waited(self, search: Document, runs: Iterable[Document]) -> None:
        """Print the search's id."""
        write([search["id"]])

    def best(self, search: Document, run: Document | None, judge: Judge) -> None:
        """Print the run's id."""
        write([] if run is None else [run["id"]])

    def search_asked(self, search: Document, asked: Asked) -> None:
        """Print the ids of the runs that end now."""
        self.runs_asked(asked)

    def search_resumed(self, search: Document) -> None:
        """Print the search's id."""
        write([search["id"]])

    def launched(self, run: Document) -> None:
        """Print the run's id."""
        write([run["id"]])

    def runs(self, runs: Sequence[Document]) -> None:
        """Print the ids of the runs."""
        write(run["id"] for run in runs)

    def run(self, run: Document) -> None:
        """Print the run's id."""
        write([run["id"]])

    def runs_asked(self, asked: Asked) -> None:
        """Print the ids of the runs that end now."""
        write(sorted([*asked.stopped, *asked.killed]))

    def tokens(self, tokens: Sequence[Document]) -> None:
        """Print the names."""
        write(token["name"] for token in tokens)

    def outputs(self, run_id: int, files: Sequence[Document]) -> None:
        """Print the files as `cp` takes them."""
        write(f"runs/{run_id}/{plain(file['path'])}" for file in files)

    def copied(self, names: Sequence[str], size: int) -> None:
        """Print the names of the copies."""
        write(map(plain, names))

    def status(self, status: Document) -> None:
        """Print the names of the workers."""
        write(worker["name"] for worker in status.get("workers", ()))

    def workers(self, answer: Document) -> None:
        """Print the names of the workers that are there."""
        write(worker["name"] for worker in answer["workers"] if worker["state"] != "gone")

    def said(self, document: Document, sentence: str, name: object) -> None:
        """Print the name."""
        write([name])

    def checks(self, checks: Sequence[Document]) -> None:
        """Print the names of the checks that failed."""
        write(check["name"] for check in checks if not check["ok"])
