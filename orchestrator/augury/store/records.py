"""What the store gives out: frozen records that carry no connection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Row

from augury.run import RunState, SearchState, Want
from augury.spec import SearchSpec, Value, text_of


@lru_cache(maxsize=512)
def _spec(text: str) -> SearchSpec:
    return SearchSpec.from_json(json.loads(text))


@dataclass(frozen=True)
class Assignment:
    """The values of one run: typed, and spelled as they stand in the command."""

    values: Mapping[str, Value]
    texts: Mapping[str, str]

    def unusual_texts(self) -> str | None:
        """Return the spellings as JSON, or None when each is what `text_of` gives."""
        if all(self.texts[name] == text_of(value) for name, value in self.values.items()):
            return None
        return json.dumps(dict(self.texts))


@dataclass(frozen=True)
class SearchRecord:
    """A row of `searches`; times are seconds since 1970."""

    id: int
    kind: str
    state: SearchState
    want: Want
    spec_text: str
    environment: str | None
    queue: str
    owner: str
    created_runs: int
    memo: dict[str, Any] | None
    notices: Sequence[str]
    pause_reason: str | None
    created_at: float
    ended_at: float | None

    @cached_property
    def spec(self) -> SearchSpec:
        """The request."""
        return _spec(self.spec_text)

    @property
    def shown_id(self) -> int | None:
        """The id a user knows; None for the search of one behind a single run."""
        return self.id if self.id > 0 else None

    @staticmethod
    def of(row: Row[Any]) -> SearchRecord:
        """Read a row of `searches`."""
        return SearchRecord(
            row.id,
            row.kind,
            row.state,
            row.want,
            row.spec,
            row.environment,
            row.queue,
            row.owner,
            row.created_runs,
            json.loads(row.memo) if row.memo else None,
            json.loads(row.notices),
            row.pause_reason,
            row.created_at,
            row.ended_at,
        )


@dataclass(frozen=True)
class RunRecord:
    """A row of `runs`; times are seconds since 1970."""

    id: int
    search_id: int
    position: int
    state: RunState
    want: Want
    token: int
    nonce: str
    values_text: str
    texts_text: str | None
    attempts: int
    lost: int
    worker: str | None
    objective: float | None
    exit_code: int | None
    cause: str | None
    detail: str | None
    landed: int | None
    queued_at: float
    started_at: float | None
    ended_at: float | None

    @cached_property
    def assignment(self) -> Assignment:
        """The values of the run and their spelling."""
        values: dict[str, Value] = json.loads(self.values_text)
        if self.texts_text is None:
            return Assignment(values, {name: text_of(value) for name, value in values.items()})
        return Assignment(values, json.loads(self.texts_text))

    @staticmethod
    def of(row: Row[Any]) -> RunRecord:
        """Read a row of `runs`: its columns stand in the order of the fields."""
        return RunRecord(*row)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """A row of `attempts`; times are seconds since 1970."""

    run_id: int
    token: int
    number: int
    nonce: str
    worker: str
    state: str
    ack: int
    started_at: float
    ended_at: float | None
    exit_code: int | None
    cause: str | None
    log_bytes: int
    dropped: int
