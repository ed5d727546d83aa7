"""Single faults of the server, each told as a short story in a simulated instance without any other fault."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from model_worker import ModelAttempt
from server_parts import LOST_AFTER, Server
from server_simulator import QUEUE, Request, World, inside
from sqlalchemy.exc import OperationalError

from augury.controller.submission import plan
from augury.errors import RefusedError
from augury.spec import Command, SearchSpec, ValueSpec
from augury.store import runs


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def world() -> Iterator[World]:
    """An instance with its workers and nobody who wants anything yet."""
    world = World(1, (), faults=False)
    with inside(world):
        world.boot()
        for host in world.hosts:
            world.after(0, host.hello)
        yield world


def submit(world: World, *, metric: str | None = "m", values: int = 3) -> Request:
    """Submit a grid."""
    spec = SearchSpec(
        "grid",
        Command(("train", ":x:")),
        {"x": ValueSpec(tuple(f"v{i}" for i in range(values)))},
        metric=metric,
    )
    request = Request(plan(spec), f"user {len(world.requests)}", silent=False)
    world.requests.append(request)
    world.ask_for(request)
    world.ask_for(request)
    return request


def server(world: World) -> Server:
    assert world.server is not None
    return world.server


def pass_time(world: World, seconds: float) -> None:
    until = world.now + seconds
    world.after(seconds + 0.001, lambda: None)
    world.run(until + 1, lambda: world.now > until)


def states(world: World) -> list[str]:
    return [row.state for row in world.store.rows("SELECT state FROM runs ORDER BY id")]


def fail_commits(world: World, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(work: Any) -> Any:
        raise error

    monkeypatch.setattr(world.store, "call", call)


def test_a_report_that_cannot_be_read_costs_nothing_but_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_nonsense(attempt: ModelAttempt, index: int, value: float) -> None:
        attempt.add({"k": "metric", "name": "m", "points": [["first", "no number", None]]})

    monkeypatch.setattr(ModelAttempt, "send_point", send_nonsense)
    submit(world, metric=None)
    pass_time(world, 30)
    assert set(states(world)) <= {"complete", "failed"}
    assert not any(b"a" in fields for _, fields in world.redis.stream)


@pytest.mark.parametrize(
    "error",
    [RefusedError("another server has taken over"), OperationalError("disk full", {}, Exception())],
)
def test_reports_stay_in_the_stream_while_they_cannot_be_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    submit(world)
    with monkeypatch.context() as broken:
        fail_commits(world, error, broken)
        pass_time(world, 5)
        assert states(world) == ["queued"] * 3
        assert any(fields[b"k"] == b"claim" for _, fields in world.redis.stream)
    pass_time(world, 30)
    assert set(states(world)) <= {"complete", "failed"}


def test_a_run_whose_loss_was_stored_without_an_answer_is_started_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reaper's commit holds, but nobody is told: the next look at the stream tells the controller."""
    submit(world, values=1)
    pass_time(world, 0.3)
    attempt = next(iter(world.executing.values()))
    real = world.store.call

    def call(work: Any) -> Any:
        real(work)
        raise OperationalError("the answer to COMMIT was lost", {}, Exception())

    with world.store.peek() as connection:
        run = runs.get(connection, attempt.identity.run)
    assert run is not None
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "call", call)
        with pytest.raises(OperationalError):
            server(world).ingest.lose(run, "it was silent")
    attempt.slot.die(attempt, 1.0)
    pass_time(world, 30)
    [row] = world.store.rows("SELECT state, lost FROM runs")
    assert row.state in ("complete", "failed")
    assert row.lost == 1


def test_a_loss_that_cannot_be_stored_is_stored_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash in Redis is taken from the attempt first; the store is away just then, the worker for ever."""
    submit(world, values=1)
    pass_time(world, 0.3)
    attempt = next(iter(world.executing.values()))
    lost_worker = attempt.slot.host
    lost_worker.crash(1e9)
    with monkeypatch.context() as broken:
        fail_commits(world, OperationalError("the server closed the connection", {}, Exception()), broken)
        pass_time(world, LOST_AFTER + 5)
        assert world.redis.attempts[attempt.identity.run]["nonce"] == ""
    pass_time(world, 30)
    [row] = world.store.rows("SELECT state, lost FROM runs")
    assert row.lost == 1
    assert row.state in (("complete", "failed") if len(world.hosts) > 1 else ("queued",))


def test_a_doorbell_is_not_lost_because_its_queue_was_empty_some_time_ago(world: World) -> None:
    controller, reaper = server(world).controller, server(world).reaper
    submit(world, values=1)
    pass_time(world, 0.02)
    lost: list[str] = []
    controller.doorbells_lost = lost.append  # type: ignore[method-assign]
    world.redis.lose_bells()
    for host in world.hosts:
        host.up = False
    reaper.tick(100.0)
    rung = controller.rung
    controller.rung = dict  # type: ignore[method-assign]
    reaper.tick(101.0)
    controller.rung = rung  # type: ignore[method-assign]
    reaper.tick(200.0)
    assert lost == []
    reaper.tick(201.0)
    reaper.tick(202.0)
    assert lost == [QUEUE]


def test_a_resumed_search_stays_resumed_when_the_server_is_restarted(world: World) -> None:
    request = submit(world, metric="absent", values=40)
    pass_time(world, 6)
    assert state_of(world, request) == "paused"
    assert world.command(lambda controller: controller.resume(request.id))
    world.crash()
    pass_time(world, 2.3)
    assert state_of(world, request) == "running"


def state_of(world: World, request: Request) -> str:
    [row] = world.store.rows(f"SELECT state FROM searches WHERE id = {request.id}")
    return str(row.state)


def test_a_command_that_fails_half_way_leaves_nothing_undone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill is stored, the answer is an error: the search ends all the same."""
    request = submit(world, values=30)
    pass_time(world, 0.2)
    real = world.store.call

    def call(work: Any) -> Any:
        real(work)
        raise OperationalError("the answer to COMMIT was lost", {}, Exception())

    with monkeypatch.context() as broken:
        broken.setattr(world.store, "call", call)
        assert not world.command(lambda controller: controller.end_search(request.id, "kill"))
    pass_time(world, 30)
    assert state_of(world, request) == "killed"
