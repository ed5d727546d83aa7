"""The HTTP door: every request carries a token, every error is a sentence in JSON."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from augury import __version__
from augury.errors import UNKNOWN_TOKEN, AuguryError, UnauthorizedError, UnavailableError, UsageError
from augury.server.api import instance, outputs, runs, searches, snapshots, tokens, worker, workers
from augury.server.api.common import error_response
from augury.server.hosts import Hosts
from augury.server.service import Service
from augury.store.database import FAILURES

_NO_STORE = "the store does not answer: runs under way go on, try again in a moment"
_UNKNOWN = ". It may have been done all the same: look at `augury hyper list` and `augury ps` first"
_log = logging.getLogger(__name__)


def build(service: Service, hosts: Collection[str] = ()) -> FastAPI:
    """Return the application, to be called by `hosts` besides loopback.

    Who runs it sets `state.end`, which asks the process to end.
    """
    allowed = Hosts(hosts)
    app = FastAPI(
        title="Augury", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json"
    )
    app.state.service = service
    for module in (instance, searches, runs, outputs, snapshots, workers, tokens, worker):
        app.include_router(module.router, prefix="/api/v1")

    @app.middleware("http")
    async def gate(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Let nobody in without a token, or as an attempt with the key: others reach loopback too."""
        if not allowed.allows(request.headers.get("host", "")):
            return error_response(
                UsageError("this server is not called by that host name: start it with --url")
            )
        try:
            return await let_in(request, call_next)
        except FAILURES as error:
            _log.warning("%s %s: the store does not answer: %s", request.method, request.url.path, error)
            return error_response(UnavailableError(_NO_STORE + ("" if request.method == "GET" else _UNKNOWN)))

    async def let_in(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Answer a request that has a token."""
        header = request.headers.get("authorization", "")
        if request.url.path.startswith(worker.PREFIX):
            attempt = await run_in_threadpool(service.attempt_of, request.method, request.url.path, header)
            if attempt is None:
                return error_response(UnauthorizedError("no open attempt signed this: AUGURY_SECRET_FILE"))
            request.state.attempt = attempt
            return await call_next(request)
        scheme, _, token = header.partition(" ")
        owner = await run_in_threadpool(service.owner_of, token) if scheme.lower() == "bearer" else None
        if owner is None:
            return error_response(UnauthorizedError(UNKNOWN_TOKEN))
        request.state.owner = owner
        service.touch()
        return await call_next(request)

    @app.exception_handler(AuguryError)
    async def explain(_request: Request, error: AuguryError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def explain_validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return error_response(UsageError(f"{where}: {first['msg']}"))

    return app
