"""A Redis that holds what the real one does for an instance, and the server's side of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import redis
from redis import ConnectionError as BrokerError

from augury.dispatch.answers import Answers, AttemptState
from augury.dispatch.broker import Beat, Broker, Fields
from augury.dispatch.doorbells import Doorbell, Doorbells
from augury_workers import protocol
from augury_workers.protocol import Secret

if TYPE_CHECKING:
    from server_simulator import World

SECRET = Secret("k1", b"0" * 32)


class ModelRedis:
    """The data, and what it tells the workers' side."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.process = 1
        self.attempts: dict[int, dict[str, Any]] = {}
        self.stream: list[tuple[bytes, Fields]] = []
        self.boxes: dict[str, list[str]] = {}
        self.bells: dict[str, list[tuple[int, int]]] = {}
        self.handed: set[tuple[int, int]] = set()
        """Doorbells on their way to a slot (Celery's `unacked`)."""
        self._entries = 0

    # --- faults ---

    def flush(self) -> None:
        """Everything is gone."""
        self.attempts.clear()
        self.boxes.clear()
        self.lose_reports()
        self.lose_bells()

    def lose_reports(self) -> None:
        """The stream is gone."""
        self.stream.clear()

    def lose_bells(self) -> None:
        """The queues are gone."""
        self.bells.clear()
        self.handed.clear()

    def lose_attempts(self) -> None:
        """The hashes of the attempts are gone."""
        self.attempts.clear()

    def restart(self) -> None:
        """Another process, that kept nothing."""
        self.process += 1
        self.flush()

    # --- the workers' side ---

    def add(self, fields: Mapping[str, str | int | bytes]) -> None:
        """XADD to the stream of reports."""
        encoded = {
            name.encode(): value if isinstance(value, bytes) else str(value).encode()
            for name, value in fields.items()
        }
        self._append(encoded)
        if self._world.fails("report doubled"):
            # A client that had no answer has sent it again.
            late = self._world.random.choice([1.0, 3.0, 20.0])
            self._world.after(self._world.random.uniform(0.01, late), self._append, encoded)

    def _append(self, fields: Fields) -> None:
        self._entries += 1
        self.stream.append((str(self._entries).encode(), fields))
        self._world.reports_waiting()

    def say(
        self, run: int, token: int, nonce: str, reports: Sequence[tuple[int, str, bytes]]
    ) -> tuple[str, str, int, str]:
        """Do what the script SAY does."""
        att = self.attempts.get(run, {})
        if "token" not in att:
            return "gone", "", 0, ""
        if (att["token"], att["nonce"]) != (token, nonce):
            return "superseded", "", 0, ""
        for s, body, data in reports:
            self.add({"a": protocol.report_origin(run, token, nonce), "s": s, "j": body, "d": data})
            att["sent"] = s
        att["beat"] = att.get("beat", 0) + 1
        return "yours", att.get("want", ""), att.get("ack", 0), att.get("gen", "")

    def look(self, run: int, token: int, nonce: str) -> tuple[str, str, int, str]:
        """Answer how far the server is with an ended attempt."""
        att = self.attempts.get(run, {})
        if "token" not in att:
            return "gone", "", 0, ""
        verdict = "yours" if (att["token"], att.get("nonce")) == (token, nonce) else "superseded"
        return verdict, "", att.get("ack", 0), att.get("gen", "")

    def push(self, nonce: str, entry: str) -> None:
        """RPUSH to the box of an attempt."""
        self.boxes.setdefault(nonce, []).append(entry)
        self._world.box_filled(nonce)


class ModelBroker(Broker):
    """Stands in for `Broker`: every call may fail before or after it has its effect."""

    def __init__(self, world: World, epoch: int) -> None:
        self._world = world
        self._redis = world.redis  # type: ignore[assignment]
        self._epoch = epoch
        self.reaping = False
        """The reaper is at work."""

    @property
    def _data(self) -> ModelRedis:
        return self._world.redis

    def _before(self) -> None:
        self._world.effect()
        if self._world.fails("redis"):
            raise redis.ConnectionError("connection refused")

    def _after(self) -> None:
        if self._world.fails("redis"):
            raise redis.TimeoutError("no answer")
        self._world.effect()

    def lead(self, *, insist: bool) -> None:
        self._before()

    def run_id(self) -> str:
        self._before()
        return str(self._data.process)

    def read_reports(self, count: int, block_ms: int) -> list[tuple[bytes, Fields]]:
        self._before()
        return self._data.stream[: min(count, self._world.random.choice([1, 3, 1000]))]

    def send(self) -> None:
        self._before()

    def pending_reports(self) -> int:
        self._before()
        return len(self._data.stream)

    def answers(self) -> ModelAnswers:
        return ModelAnswers(self)

    def beats(self, run_ids: Sequence[int]) -> list[Beat | None]:
        self._before()
        found = []
        for run_id in run_ids:
            att = self._data.attempts.get(run_id, {})
            complete = {"token", "nonce", "want", "ack"} <= att.keys()
            numbers = (att.get("beat", 0), att.get("sent", 0))
            beat = Beat(att["token"], att["nonce"], att["want"], att["ack"], *numbers) if complete else None
            found.append(beat)
        return found

    def reap(self, run_id: int, beat: int, token: int) -> bool:
        self._before()
        att = self._data.attempts.setdefault(run_id, {})
        if (att.get("token"), att.get("nonce")) == (token + 1, ""):
            return True
        if att.get("beat", 0) != beat or att.get("token") != token:
            return False
        att |= {"token": token + 1, "nonce": ""}
        self._after()
        return True

    def is_empty(self, queue: str) -> bool:
        self._before()
        empty = not self._data.bells.get(queue) and not self._data.handed
        self._world.looks.append((self._world.now, empty and not self._data.stream))
        return empty


class ModelAnswers(Answers):
    """Stands in for `Answers`: some of it may be done, and the rest not."""

    def __init__(self, broker: ModelBroker) -> None:
        self._broker = broker
        self._todo: list[Callable[[ModelRedis], None]] = []

    def send(self) -> None:
        self._broker._before()
        if self._broker._world.fails("slow reaper") and self._broker.reaping:
            # Its thread waits for others before it sends.
            delay = self._broker._world.random.uniform(0, 0.3)
            self._broker._world.after(delay, self._send_late, self._todo)
        else:
            for work in self._todo:
                work(self._broker._data)
                self._broker._after()
        self._todo = []

    def _send_late(self, todo: list[Callable[[ModelRedis], None]]) -> None:
        for work in todo:
            work(self._broker._data)

    def grant(self, state: AttemptState, order: Mapping[str, Any], kid: str) -> None:
        entry = protocol.seal_order(order, SECRET)

        def work(data: ModelRedis) -> None:
            data.attempts.setdefault(state.run_id, {}).update(_hash(state))
            data.push(state.nonce, entry)

        self._todo.append(work)

    def deny(self, nonce: str, reason: protocol.Denial) -> None:
        entry = protocol.deny_entry(reason)
        self._todo.append(lambda data: data.push(nonce, entry))

    def acknowledge(self, acks: Iterable[tuple[int, int]], ended: Iterable[int]) -> None:
        changes: list[tuple[int, dict[str, Any]]] = [(run_id, {"ack": ack}) for run_id, ack in acks]
        changes += [(run_id, {"expires": True}) for run_id in ended]
        self._change(changes)

    def write_attempts(self, states: Iterable[AttemptState]) -> None:
        for state in states:

            def work(data: ModelRedis, state: AttemptState = state) -> None:
                att = data.attempts.setdefault(state.run_id, {})
                if att.get("token", 0) <= state.token:
                    att.update(_hash(state))

            self._todo.append(work)

    def _change(self, changes: Iterable[tuple[int, dict[str, Any]]]) -> None:
        for run_id, fields in changes:
            self._todo.append(
                lambda data, run_id=run_id, fields=fields: data.attempts.setdefault(run_id, {}).update(fields)
            )

    def wake(self, runs: Iterable[tuple[int, str, str]]) -> None:
        for run_id, nonce, want in runs:

            def work(data: ModelRedis, run_id: int = run_id, nonce: str = nonce, want: str = want) -> None:
                data.attempts.setdefault(run_id, {})["want"] = want
                data.push(nonce, protocol.wake_entry())

            self._todo.append(work)

    def drop_reports(self, ids: Sequence[bytes]) -> None:
        gone = set(ids)

        def work(data: ModelRedis) -> None:
            data.stream[:] = [entry for entry in data.stream if entry[0] not in gone]

        self._todo.append(work)


class ModelDoorbells(Doorbells):
    """Stands in for `Doorbells`: some are lost, doubled, or not at the end of their queue."""

    def __init__(self, world: World) -> None:
        self._world = world

    def publish(self, doorbells: Sequence[Doorbell]) -> None:
        world = self._world
        for bell in doorbells:
            world.effect()
            if world.fails("publish"):
                raise BrokerError("connection refused")
            for _ in range(0 if world.fails("bell lost") else 2 if world.fails("bell doubled") else 1):
                queue = world.redis.bells.setdefault(bell.queue, [])
                place = world.random.randint(0, len(queue)) if world.fails("bell late") else len(queue)
                queue.insert(place, (bell.run_id, bell.token))
            world.bells_waiting(bell.queue)


def _hash(state: AttemptState) -> dict[str, Any]:
    return {
        "token": state.token,
        "nonce": state.nonce,
        "want": state.want,
        "ack": state.ack,
        "gen": state.gen,
        "expires": False,
    }


def read_entry(entry: str) -> dict[str, Any]:
    """Return an entry of a box."""
    document: dict[str, Any] = json.loads(entry)
    return document
