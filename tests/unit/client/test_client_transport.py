"""Requests: token, errors, and what is tried again when the local instance has moved."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
from client_fake import FakeServer

from augury import errors
from augury.client.connection import Address
from augury.client.routes import Routes
from augury.client.transport import Transport, error_of
from augury.spec import Command, SearchSpec

SPEC = SearchSpec(kind="run", command=Command(argv=("true",)))
OLD = Address("http://old", "old", local=True)
NEW = Address("http://new", "new", local=True)

Handler = Callable[[httpx.Request], httpx.Response]


class Instance:
    """A local instance that has moved from `OLD` to `NEW` when it is looked for with `verify`."""

    def __init__(self, at_old: Handler) -> None:
        self.at_old = at_old
        self.seen: list[tuple[str, str, str]] = []
        self.verified = 0

    def find(self, verify: bool) -> Address:
        self.verified += verify
        return NEW if verify else OLD

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, request.url.host, request.headers["Authorization"]))
        if request.url.host == "old":
            return self.at_old(request)
        return httpx.Response(200, json={"run": {"id": 1}, "notices": []})

    def client(self) -> Routes:
        return Routes(self.find, httpx.MockTransport(self.answer))


def refuses_connections(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def breaks_off(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("server disconnected without sending a response", request=request)


def is_silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("timed out", request=request)


def test_a_wrong_token_is_named_where_the_answer_has_no_body() -> None:
    transport = Transport(lambda verify: Address("http://fake", "old"), httpx.MockTransport(answers_401))
    with pytest.raises(errors.UnauthorizedError, match="unknown or revoked: set AUGURY_TOKEN"):
        transport.exists("/snapshots/abc")


def answers_401(request: httpx.Request) -> httpx.Response:
    return httpx.Response(401)


def knows_no_token(request: httpx.Request) -> httpx.Response:
    return httpx.Response(401, json={"error": "no such token", "kind": "unauthorized"})


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "usage", errors.UsageError),
        (404, "not_found", errors.NotFoundError),
        (409, "refused", errors.RefusedError),
        (409, "wait", errors.WaitError),
        (401, "unauthorized", errors.UnauthorizedError),
        (503, "unavailable", errors.UnavailableError),
    ],
)
def test_an_answer_becomes_the_error_of_its_kind(
    status: int, kind: str, expected: type[errors.AuguryError]
) -> None:
    error = error_of(status, json.dumps({"error": "what is wrong", "kind": kind}))
    assert type(error) is expected
    assert str(error) == "what is wrong"


def test_an_answer_without_a_kind_is_read_by_its_status() -> None:
    assert type(error_of(404, "<html>")) is errors.NotFoundError
    assert type(error_of(502, "")) is errors.UnavailableError
    assert "502" in str(error_of(502, ""))


def test_every_request_carries_the_token() -> None:
    server = FakeServer()
    client = server.client()
    assert client.get_search(59)["id"] == 59
    client._transport._find = lambda verify: Address("http://fake", "wrong")
    client._transport._address = None
    client.close()
    with pytest.raises(errors.UnauthorizedError, match="opens nothing"):
        client.get_search(59)


def test_a_submit_is_sent_again_when_nothing_had_been_sent() -> None:
    instance = Instance(refuses_connections)
    assert instance.client().submit_run(SPEC)["run"]["id"] == 1
    assert [host for _, host, _ in instance.seen] == ["old", "new"]
    assert instance.seen[-1][2] == "Bearer new"


def test_a_submit_is_not_repeated_when_it_may_have_been_done() -> None:
    instance = Instance(breaks_off)
    with pytest.raises(errors.UnavailableError, match="augury ps"):
        instance.client().submit_run(SPEC)
    assert len(instance.seen) == 1


def test_a_question_is_repeated_when_the_connection_broke() -> None:
    instance = Instance(breaks_off)
    assert instance.client().get_run(1)["run"]["id"] == 1


def test_a_stop_is_repeated_because_twice_is_once() -> None:
    instance = Instance(breaks_off)
    instance.client().stop_runs([1])
    assert [method for method, _, _ in instance.seen] == ["POST", "POST"]


def test_a_server_that_does_not_answer_in_time_is_not_asked_twice() -> None:
    instance = Instance(is_silent)
    with pytest.raises(errors.UnavailableError, match="did not answer in time"):
        instance.client().get_run(1)
    assert len(instance.seen) == 1


def test_a_restarted_instance_with_another_token_is_found() -> None:
    instance = Instance(knows_no_token)
    instance.client().submit_run(SPEC)
    assert instance.seen[-1] == ("POST", "new", "Bearer new")


def test_a_remote_server_is_not_looked_for_elsewhere() -> None:
    remote = Address("http://old", "old")
    asked: list[bool] = []
    client = Routes(lambda verify: asked.append(verify) or remote, httpx.MockTransport(refuses_connections))
    with pytest.raises(errors.UnavailableError, match="AUGURY_URL"):
        client.status()
    assert asked == [False]


def test_text_that_is_no_utf8_reaches_the_server_unharmed() -> None:
    server = FakeServer()
    odd = SearchSpec(kind="run", command=Command(argv=("true",)), environment={"ODD": "caf\udce9"})
    server.client().submit_run(odd)
    assert server.submitted["environment"] == {"ODD": "caf\udce9"}


def test_an_answer_that_is_not_json_names_the_address() -> None:
    client = Routes(
        lambda verify: Address("http://elsewhere", "t"),
        httpx.MockTransport(lambda request: httpx.Response(200, text="<html>")),
    )
    with pytest.raises(errors.UnavailableError, match="elsewhere"):
        client.status()
