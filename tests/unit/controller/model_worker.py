"""Slots of workers as the wire wants them: claim, run, report until acknowledged, fence, die, come back.

A command is a model too: how it ends depends on its values alone, how long it takes on chance.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from model_redis import SECRET, read_entry
from timeline import Violation

from augury_workers import protocol
from augury_workers.attempt import fence_seconds
from augury_workers.claim import check_order
from augury_workers.conversation import GONE_SECONDS
from augury_workers.slot import Identity

if TYPE_CHECKING:
    from server_simulator import World

FRESH_SECONDS = 5.0
"""An order that comes later after its claim may have been taken back meanwhile."""
LONGEST_PAUSE = 6.0
"""Between two offers of an ended attempt's reports."""


class LinkError(Exception):
    """Redis cannot be reached from this slot."""


class ModelAttempt:
    """One execution of a run, and its reports."""

    def __init__(self, slot: ModelSlot, order: dict[str, Any], identity: Identity) -> None:
        self.slot = slot
        self.world = slot.world
        self.order = order
        self.identity = identity
        self.reports: list[tuple[int, str, bytes]] = []
        self.sent = self.acked = self.exit_s = self.log_bytes = 0
        self.gen: str | None = None
        self.verdict = "yours"
        self.renewed = self.world.now
        self.alive = False
        """Its process tree is there."""
        self.ended = False
        """The final report is written."""
        self.ended_at = 0.0
        self.died: str | None = None
        self.settled = False
        """The server has everything, or wants nothing."""
        self.points: list[float] = []
        self.fence = fence_seconds(order["lost_after"], float(order["grace"]))

    # --- the command ---

    def confirm(self) -> None:
        """Before a command is started on an order that was long on its way: is it still ours?"""
        if self.slot.attempt is not self:
            return
        try:
            verdict = self.exchange()
        except LinkError:
            verdict = "gone"
        if verdict == "yours":
            self.start()
        elif verdict == "superseded":
            self.settled = True
            self.slot.free()
        else:
            self.world.after(0.5, self.confirm)

    def start(self) -> None:
        """Start the command and plan what it will do."""
        self.alive = True
        self.world.started(self)
        self.add({"k": "state", "state": "running", "time": self.world.now, "pid": 1})
        outcome = self.world.outcome(self.order)
        took = self.world.random.uniform(0.05, self.world.longest_run)
        for i, value in enumerate(outcome.points):
            self.world.after(took * (i + 1) / 9, self.send_point, i, value)
        self.world.after(took * 0.9, self.send_output, b"line of output\n")
        self.world.after(took, self.exit, outcome.code, "exit", outcome.state)
        self.world.after(protocol.BEAT_SECONDS, self.beat)

    def add(self, body: dict[str, Any], data: bytes = b"") -> None:
        """Number a report, keep it, and send it."""
        self.reports.append((len(self.reports) + 1, json.dumps(body), data))
        self.world.after(0.01, self.say)

    def send_point(self, index: int, value: float) -> None:
        if self.alive and not self.exit_s:
            self.points.append(value)
            point = [index, protocol.encode_value(value), self.world.now]
            self.add({"k": "metric", "name": "m", "points": [point]})

    def send_output(self, data: bytes) -> None:
        if self.alive and not self.exit_s:
            self.add({"k": "log", "o": self.log_bytes}, data)
            self.log_bytes += len(data)

    def exit(self, code: int | None, cause: str, state: str) -> None:
        """The command has ended by itself or was made to: report so, and again when its tree is gone."""
        if not self.alive or self.exit_s:
            return
        self.add({"k": "exit", "code": code, "signal": None, "cause": cause, "time": self.world.now})
        self.exit_s = len(self.reports)
        lingers = self.world.random.choice([0.0, 0.0, 1.0])
        if self.world.fails("dies at its end"):
            self.world.after(lingers, self.slot.die, self, self.world.random.uniform(0, 5))
        self.world.after(lingers, self.finish, state)

    def finish(self, state: str) -> None:
        if not self.alive:
            return
        self.tree_gone()
        if not self.order["outputs"] or self.identity.run % 3 or state == "killed":
            self.conclude(state)
            return
        self.add({"k": "state", "state": "saving", "files": 1, "bytes": 9, "time": self.world.now})
        self.world.after(self.world.random.uniform(0, 2), self.conclude, state)

    def conclude(self, state: str) -> None:
        """The files that it left have come back, or there are none: say the last word."""
        if self.slot.attempt is not self:
            return
        body = {"k": "final", "state": state, "log_bytes": self.log_bytes, "dropped": 0, "detail": ""}
        self.add(body)
        self.ended, self.ended_at = True, self.world.now

    def tree_gone(self) -> None:
        if self.alive:
            self.alive = False
            self.world.stopped(self)

    # --- the talk ---

    def beat(self) -> None:
        """Say something at least so often, and end without a lease."""
        if self.slot.attempt is not self:
            return
        self.say()
        self.world.after(protocol.BEAT_SECONDS, self.beat)

    def check_fence(self) -> None:
        if self.alive and self.fence is not None and self.world.now - self.renewed > self.fence:
            self.slot.die(self, self.world.random.uniform(0, 0.5))

    def say(self) -> None:
        """Send what is not sent, and do what the answer wants."""
        if self.slot.attempt is not self:
            return
        try:
            self.exchange()
        except LinkError:
            self.check_fence()
            self.world.after(self.world.random.uniform(0.3, 3), self.say)
            return
        if self.verdict == "superseded":
            self.settled = True
            self.tree_gone()
            self.slot.free()
        elif self.ended and (self.sent == len(self.reports) or self.world.now - self.ended_at > GONE_SECONDS):
            self.slot.offer(self)
            self.slot.free()
        elif self.verdict == "gone":
            self.world.after(0.5, self.say)

    def exchange(self) -> str:
        """Call SAY once and take its answer in."""
        self.slot.host.call()
        batch = self.reports[self.sent :]
        run, token, nonce = self.identity.run, self.identity.token, self.identity.nonce
        reply = self.world.redis.say(run, token, nonce, batch)
        if self.world.fails("answer lost"):
            raise LinkError("the answer was lost")
        if reply[0] == "yours":
            self.renewed = self.world.now
            if batch:
                self.sent = batch[-1][0]
        self.take(reply)
        return self.verdict

    def take(self, reply: tuple[str, str, int, str]) -> None:
        self.verdict, want, ack, gen = reply
        if self.verdict == "gone":
            self.sent = self.acked
        if self.verdict != "yours":
            return
        self.acked = max(self.acked, ack)
        self.sent = max(self.sent, self.acked)
        if self.gen is not None and gen != self.gen:
            self.sent = self.acked
        self.gen = gen
        if want == "kill":
            self.exit(None, "killed", "killed")
        elif want == "stop":
            self.world.after(self.world.random.uniform(0, 0.5), self.exit, None, "stopped", "stopped")

    # --- after its end ---

    def offer(self, pause: float) -> None:
        """Ask how far the server is, until it has everything."""
        try:
            self.settled = self.advance()
        except LinkError:
            pass
        if not self.settled:
            self.world.after(pause, self.offer, min(pause * 1.5, LONGEST_PAUSE))

    def advance(self) -> bool:
        self.slot.host.call()
        run, token, nonce = self.identity.run, self.identity.token, self.identity.nonce
        self.take_ended(self.world.redis.look(run, token, nonce))
        while self.verdict == "yours" and self.sent < len(self.reports):
            self.exchange()
        settled = self.acked == len(self.reports)
        if self.died is not None and (self.verdict == "yours" or (self.verdict == "gone" and settled)):
            fields = protocol.died_fields(run, token, nonce, self.slot.host.name, self.died)
            self.world.redis.add(fields)
        return self.verdict == "superseded" or (self.verdict == "yours" and settled and self.died is None)

    def take_ended(self, reply: tuple[str, str, int, str]) -> None:
        self.verdict, _, ack, gen = reply
        if self.verdict == "gone":
            self.sent = self.acked
        elif self.verdict == "yours":
            self.acked = max(self.acked, ack)
            if gen != self.gen:
                self.sent = self.acked
            self.sent, self.gen = max(self.sent, self.acked), gen


class ModelHost:
    """A worker: its name, its queue, whether it is there and can reach Redis."""

    def __init__(self, world: World, name: str, queue: str, slots: int) -> None:
        self.world = world
        self.name = name
        self.queue = queue
        self.up = True
        self.cut_until = self.down_until = 0.0
        self.slots = [ModelSlot(self, number) for number in range(slots)]

    def call(self) -> None:
        """Stand before every call to Redis."""
        if not self.up or self.world.now < self.cut_until or self.world.fails("no route"):
            raise LinkError("no route")

    def hello(self) -> None:
        """Say that it is there."""
        self.world.after(protocol.HELLO_SECONDS, self.hello)
        if self.up and self.world.now >= self.cut_until:
            count = len(self.slots)
            self.world.redis.add(protocol.hello_fields(self.name, "h", [self.queue], ["T"], count))

    def cut(self, seconds: float) -> None:
        """Lose the network for a while; what runs goes on."""
        self.cut_until = max(self.cut_until, self.world.now + seconds)

    def crash(self, seconds: float) -> None:
        """All of it dies at once; after a while it comes back and sweeps its slots."""
        if not self.up:
            return
        self.up = False
        self.down_until = self.world.now + seconds
        for slot in self.slots:
            slot.drop(self.world.random.choice([True, True, False]) or self.world.local, seconds)
        self.world.after(seconds, self.come_back)

    def come_back(self) -> None:
        self.up = True
        self.world.bells_waiting(self.queue)


class ModelSlot:
    """A place for one run on a worker."""

    def __init__(self, host: ModelHost, number: int) -> None:
        self.host = host
        self.world = host.world
        self.number = number
        self.claiming: Identity | None = None
        self.attempt: ModelAttempt | None = None
        self.handed: tuple[int, int] | None = None
        self.asked = 0.0
        self.down: object = None
        """Set while its processes are started anew."""

    @property
    def idle(self) -> bool:
        """It may take the next doorbell."""
        at_hand = (self.claiming, self.attempt, self.handed, self.down)
        return self.host.up and all(one is None for one in at_hand)

    def ring(self, bell: tuple[int, int]) -> None:
        """A doorbell is handed over: claim its run."""
        self.handed = bell
        self.world.redis.handed.add(bell)
        self.world.after(self.world.random.uniform(0.001, 0.1), self.begin, bell)

    def begin(self, bell: tuple[int, int]) -> None:
        self.world.redis.handed.discard(bell)
        if self.handed != bell:
            return
        self.handed = None
        nonce = f"{self.world.random.getrandbits(128):032x}"
        self.claiming, self.asked = Identity(bell[0], bell[1], nonce), self.world.now
        self.claim(self.claiming)

    def claim(self, identity: Identity) -> None:
        """Ask for the run, and again every 2 s until there is an answer."""
        if self.claiming != identity:
            return
        try:
            self.host.call()
            fields = protocol.claim_fields(
                identity.run, identity.token, identity.nonce, self.host.name, self.number
            )
            self.world.redis.add(fields)
            self.look(identity)
        except LinkError:
            pass
        self.world.after(protocol.CLAIM_REPEAT_SECONDS, self.claim, identity)

    def look(self, identity: Identity) -> None:
        """Take what is in the box: the answer to the claim, or a wake."""
        if identity not in (self.claiming, self.attempt and self.attempt.identity):
            return
        if not self.host.up or self.world.now < self.host.cut_until:
            return
        for entry in map(read_entry, self.world.redis.boxes.pop(identity.nonce, [])):
            if self.attempt is not None:
                self.attempt.say()
            elif self.claiming == identity and "deny" in entry:
                self.free()
            elif self.claiming == identity and "order" in entry:
                self.grant(identity, entry)

    def grant(self, identity: Identity, entry: dict[str, Any]) -> None:
        order = protocol.open_order(entry, {SECRET.kid: SECRET})
        try:
            check_order(order, self.world.instance, identity)
        except ValueError as error:
            raise Violation(f"an order that no worker takes: {error}") from error
        self.claiming = None
        self.attempt = ModelAttempt(self, order, identity)
        if self.world.now - self.asked > FRESH_SECONDS:
            self.attempt.confirm()
        else:
            self.attempt.start()
        if self.world.fails("dies"):
            delay = self.world.random.uniform(0, self.world.longest_run)
            self.world.after(delay, self.die, self.attempt, self.world.random.uniform(0, 4))

    def die(self, attempt: ModelAttempt, seconds: float) -> None:
        """The processes of a slot die, and the tree of its run with them; later it says so."""
        if self.attempt is attempt and not attempt.ended:
            self.drop(True, seconds)

    def drop(self, remembers: bool, seconds: float) -> None:
        """Forget what is at hand; `remembers` is false where even the disk is gone."""
        attempt, claiming = self.attempt, self.claiming
        if attempt is None and claiming is not None:
            # It may have been granted in this very moment.
            attempt = ModelAttempt(self, {"lost_after": None, "grace": 1}, claiming)
        if attempt is not None:
            attempt.tree_gone()
            attempt.settled = not remembers
            if remembers:
                attempt.died = None if attempt.ended else "its worker was gone"
                self.world.after(seconds, attempt.offer, 2.0)
        self.handed = self.claiming = self.attempt = None
        self.down = object()
        self.world.after(seconds, self.up_again, self.down)

    def up_again(self, down: object) -> None:
        if self.down is down:
            self.down = None
            self.free()

    def offer(self, attempt: ModelAttempt) -> None:
        """Keep the reports of an ended attempt until the server has them."""
        self.world.after(2.0, attempt.offer, 2.0)

    def free(self) -> None:
        """It may take the next run."""
        self.claiming = self.attempt = None
        self.world.bells_waiting(self.host.queue)
