"""What the routes share: the service, the user behind a request, errors as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse

from augury import errors
from augury.server.service import Service

_KINDS: dict[type[errors.AuguryError], tuple[int, str]] = {
    errors.UsageError: (400, "usage"),
    errors.UnauthorizedError: (401, "unauthorized"),
    errors.NotFoundError: (404, "not_found"),
    errors.RefusedError: (409, "refused"),
    errors.WaitError: (409, "wait"),
    errors.UnavailableError: (503, "unavailable"),
}


def error_response(error: errors.AuguryError) -> JSONResponse:
    """Return an error as JSON: `{"error": text, "kind": word}`."""
    status, kind = _KINDS.get(type(error), (500, "error"))
    return JSONResponse({"error": str(error), "kind": kind}, status)


def service_of(request: Request) -> Service:
    """Return the service of the running server."""
    service: Service = request.app.state.service
    return service


def owner_of(request: Request) -> str:
    """Return whom the token of a request speaks for (set by the gate in `app`)."""
    owner: str = request.state.owner
    return owner


TheService = Annotated[Service, Depends(service_of)]
Owner = Annotated[str, Depends(owner_of)]
Limit = Annotated[int, Query(ge=1, le=10_000)]
Id = Annotated[int, Query(ge=0, lt=2**62)]
