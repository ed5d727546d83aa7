"""The event stream: parsing, resuming, and waking up once for many events."""

from __future__ import annotations

import httpx
import pytest
from client_fake import FakeServer, event_text

from augury.client import events
from augury.client.connection import Address
from augury.client.events import Silence, parse, readings
from augury.client.routes import Routes
from augury.errors import NotFoundError, UnavailableError


def event(number: int | None, kind: str = "run") -> dict[str, object]:
    return {"id": number, "kind": kind, "search_id": 59, "run_id": 1, "time": "t", "data": {}}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAUSES", (0.0,))


def test_comments_and_events_are_told_apart() -> None:
    text = ': keep-alive\n\nid: 3\nevent: run\ndata: {\ndata: "id": 3}\n\n'
    assert list(parse(text.split("\n"))) == [None, {"id": 3}]


def test_a_broken_stream_goes_on_behind_the_last_event_seen() -> None:
    streams = [[event(4), event(None, "log")], [event(5)]]
    after: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        after.append(request.url.params.get("after"))
        if len(after) == 2:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, text="".join(map(event_text, streams.pop(0))))

    client = Routes(lambda verify: Address("http://fake", "t"), httpx.MockTransport(answer))
    stream = client.events(search=59)
    assert [next(stream)["id"] for _ in range(3)] == [4, None, 5]
    assert after == ["0", "4", "4"]


def test_an_unknown_search_is_not_followed_for_ever() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"error": "there is no search 5", "kind": "not_found"})

    client = Routes(lambda verify: Address("http://fake", "t"), httpx.MockTransport(answer))
    with pytest.raises(NotFoundError, match="no search 5"):
        next(client.events(search=5))
    with client.doorbell(search=5) as bell, pytest.raises(NotFoundError):
        bell.wait(10)


def test_a_doorbell_rings_when_something_happens() -> None:
    server = FakeServer()
    server.events = [event(number) for number in range(1, 500)]
    with server.client().doorbell(search=59) as bell:
        assert bell.wait(5)


class FakeClock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def __call__(self) -> float:
        return self.now


def test_without_rings_it_reads_now_and_then_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr("time.sleep", clock.wait)
    times = list(readings(clock, clock, seconds=7.0, period=3.0, clock=clock))
    assert times[0] == 0.0
    assert times[-1] >= 7.0
    assert len(times) == 4


def test_an_outage_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr("time.sleep", clock.wait)

    def read() -> float:
        if 0 < clock.now < 20:
            raise UnavailableError("gone")
        return clock.now

    found = readings(read, clock, clock=clock)
    assert next(found) == 0.0
    assert next(found) >= 20


def test_an_outage_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr("time.sleep", clock.wait)

    def read() -> float:
        raise UnavailableError("gone")

    with pytest.raises(UnavailableError):
        list(readings(read, clock, clock=clock))
    assert clock.now >= events.PATIENCE_SECONDS
    with pytest.raises(UnavailableError):
        list(readings(read, Silence(), seconds=0))
