"""`--json`: one strict JSON value on stdout and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from augury.cli.output import contract
from augury.cli.output.base import Asked, Document, Judge


def write(value: Any) -> None:
    """Print one JSON value; NaN and infinity are refused, not written."""
    sys.stdout.write(json.dumps(value, allow_nan=False, indent=2) + "\n")


class JsonRenderer:
    """Prints the documents of the contract (`contract.py`)."""

    def cast(self, search: Document, runs: Iterable[Document], dry_run: bool) -> None:
        """Print the search with its runs."""
        write(contract.search(search, runs))

    def searches(self, searches: Sequence[Document]) -> None:
        """Print an array of searches."""
        write([contract.search(search) for search in searches])

    def search(self, search: Document, runs: Iterable[Document], judge: Judge) -> None:
        """Print the search with its runs."""
        write(contract.search(search, runs))

    def waited(self, search: Document, runs: Iterable[Document]) -> None:
        """Print the search with its runs."""
        write(contract.search(search, runs))

    def best(self, search: Document, run: Document | None, judge: Judge) -> None:
        """Print the run, or null."""
        write(None if run is None else contract.run(run))

    def search_asked(self, search: Document, asked: Asked) -> None:
        """Print the search's id and state, and the run ids by what was done."""
        done = {key: ids for key, ids in asdict(asked).items() if key != "unknown"}
        write({"id": search["id"], "state": search["state"], **done})

    def search_resumed(self, search: Document) -> None:
        """Print the search's id and state."""
        write({"id": search["id"], "state": search["state"]})

    def launched(self, run: Document) -> None:
        """Print the run."""
        write(contract.run(run))

    def runs(self, runs: Sequence[Document]) -> None:
        """Print an array of runs."""
        write([contract.run(run) for run in runs])

    def run(self, run: Document) -> None:
        """Print the run with its attempts."""
        write(contract.run_detail(run))

    def runs_asked(self, asked: Asked) -> None:
        """Print the run ids by what was done."""
        write(asdict(asked))

    def tokens(self, tokens: Sequence[Document]) -> None:
        """Print a list of names and times."""
        write([dict(token) for token in tokens])

    def outputs(self, run_id: int, files: Sequence[Document]) -> None:
        """Print an array of files."""
        write([dict(file) for file in files])

    def copied(self, names: Sequence[str], size: int) -> None:
        """Print an array of the names of the copies."""
        write(list(names))

    def status(self, status: Document) -> None:
        """Print the status as the server tells it."""
        write(dict(status))

    def workers(self, answer: Document) -> None:
        """Print workers and queues as the server tells them."""
        write(dict(answer))

    def said(self, document: Document, sentence: str, name: object) -> None:
        """Print the document."""
        write(dict(document))

    def checks(self, checks: Sequence[Document]) -> None:
        """Print an array of findings."""
        write([dict(check) for check in checks])
