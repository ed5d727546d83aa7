"""What attempts ask for over HTTP: blobs, the one thing that does not travel by Redis."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from augury.store.records import RunRecord

#: Below it no user's token is let in, but an attempt that holds its run and signs with the key file.
PREFIX = "/api/v1/worker/"

router = APIRouter(prefix="/worker", tags=["worker"])


def attempt_of(request: Request) -> RunRecord:
    """Return the run that the asking attempt holds (set by the gate in `app`)."""
    run: RunRecord = request.state.attempt
    return run


TheAttempt = Annotated[RunRecord, Depends(attempt_of)]
