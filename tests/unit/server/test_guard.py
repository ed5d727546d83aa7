"""What a browser, a form and an endless body meet at the server's door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from augury.server.guard import MAX_BODY_BYTES, Guard

JSON = {"Content-Type": "application/json"}


def _app() -> FastAPI:
    app = FastAPI()

    @app.api_route("/x", methods=["GET", "POST", "PUT", "DELETE"])
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter(["a"]), headers={"Cache-Control": "private"})

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("oops")

    return app


def _ask(method: str, path: str = "/x", **how: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(_app()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lab:8800") as client:
            return await client.request(method, path, **how)  # type: ignore[arg-type]

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/x", "/nowhere", "/broken", "/stream"])
def test_every_answer_tells_browsers_to_be_careful(path: str) -> None:
    headers = _ask("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cache-control"] == ("private" if path == "/stream" else "no-store")
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://lab:8800"}, 200),
        ({"Origin": "https://augury.lab", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://lab:8800", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://lab:9000"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_may_look_but_change_nothing(headers: dict[str, str], status: int) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = _ask(method, headers=headers)
        assert answer.status_code == status
        if status == 403:
            assert "a page of another site" in answer.json()["error"]
    assert _ask("GET", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None]
)
def test_what_a_form_can_send_is_no_request(kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = _ask("POST", content=b'{"force": true}', headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (415, "send the body as application/json")


def test_json_and_nothing_and_files_are_taken() -> None:
    assert _ask("POST", content=b"{}", headers={"Content-Type": "Application/JSON; charset=utf-8"}).is_success
    assert _ask("POST").is_success
    assert _ask("DELETE").is_success
    assert _ask("PUT", content=b"x" * (MAX_BODY_BYTES + 1)).json() == {"bytes": MAX_BODY_BYTES + 1}


def test_a_body_that_is_too_large_is_refused_by_its_length_and_by_its_bytes() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // (1024 * 1024) + 1):
            yield b"x" * (1024 * 1024)

    for content in (b"x" * (MAX_BODY_BYTES + 1), endless()):
        answer = _ask("POST", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["error"]) == (413, "a request has at most 16,777,216 bytes")
    assert _ask("POST", content=b"x" * MAX_BODY_BYTES, headers=JSON).json() == {"bytes": MAX_BODY_BYTES}
