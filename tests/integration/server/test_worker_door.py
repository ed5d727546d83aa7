"""The door for attempts: only one that holds its run, and signs with the key file, is let in."""

from __future__ import annotations

import asyncio
import base64

import httpx
import pytest

from augury.server.app import build
from augury.server.service import Service
from augury.store import access, runs
from augury.store.database import Connection
from augury_workers.protocol import Secret, authorize, report_origin
from tests.integration.server.conftest import Cluster, grid

pytestmark = pytest.mark.integration
PATH = "/api/v1/worker/nothing"


def _held(service: Service) -> tuple[int, int, str]:
    """Return run, token and nonce of a run that an attempt holds."""
    service.store.writer.call(lambda c: access.see_machine_type(c, 1.0, "K80", "k80"))

    def work(connection: Connection) -> bool:
        return runs.claim(connection, 1.0, 1, 1, "aa", "k80@host") is not None

    service.submit(grid(1), "ada", dry_run=False)
    assert service.store.writer.call(work)
    return 1, 1, "aa"


def test_only_the_attempt_that_holds_the_run_gets_in(cluster: Cluster) -> None:
    service = cluster.serve()
    run, token, nonce = _held(service)
    transport = httpx.ASGITransport(build(service))

    async def ask(method: str, path: str, header: str) -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.request(method, path, headers={"Authorization": header})).status_code

    def status(method: str, path: str, header: str) -> int:
        return asyncio.run(ask(method, path, header))

    good = authorize("GET", PATH, report_origin(run, token, nonce), cluster.secret)
    assert status("GET", PATH, good) == 404  # let in: there is no such route
    other_key = Secret(cluster.secret.kid, base64.b64decode(b"A" * 43 + b"="))
    user = service.make_local_token()
    for method, path, header in (
        ("PUT", PATH, good),
        ("GET", PATH + "s", good),
        ("GET", PATH, authorize("GET", PATH, report_origin(run, token, "bb"), cluster.secret)),
        ("GET", PATH, authorize("GET", PATH, report_origin(run, 2, nonce), cluster.secret)),
        ("GET", PATH, authorize("GET", PATH, report_origin(run, token, nonce), other_key)),
        ("GET", PATH, f"Bearer {user}"),
        ("GET", PATH, "Worker k1 nonsense"),
        ("GET", "/api/v1/status", good),
        ("GET", "/api/v1/openapi.json", good),
        ("GET", "/api/v1/openapi.json", ""),
        ("GET", "/nowhere", ""),
    ):
        assert status(method, path, header) == 401, (method, path, header)
    assert status("GET", "/api/v1/status", f"Bearer {user}") == 200
