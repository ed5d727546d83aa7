"""The real controller, ingest and reaper over the real store verbs, in one thread under a virtual clock.

Threads are turns: what ingest tells reaches the controller a little later, commands of users overtake it.
Every call to store, Redis and Celery may fail before or after its effect, and the server may die there.
Redis, the workers and their commands are models of `wire.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import checks
import redis
from learner import Learner, Outcome, outcome
from model_redis import ModelRedis
from model_store import ModelStore
from model_worker import ModelAttempt, ModelHost
from server_parts import LOST_AFTER, Clock, MemoryLogs, Server
from sqlalchemy.exc import OperationalError
from timeline import Crash, Timeline, Violation

from augury import reaper as reaper_module
from augury.controller import loop as controller_module
from augury.controller import sampling
from augury.controller.submission import Plan, plan
from augury.dispatch import orders
from augury.errors import AuguryError
from augury.ingest import loop as ingest_module
from augury.spec import Command, RangeSpec, SearchSpec, ValueSpec
from augury.store import runs, searches
from augury.store.records import SearchRecord

FAULTS_END = 25.0
BOUND = FAULTS_END + 170.0
QUEUE = "t"
FAULTS = {
    "crash": 0.0005,
    "commit": 0.003,
    "commit answer": 0.002,
    "redis": 0.003,
    "publish": 0.01,
    "slow reaper": 0.1,
    "bell lost": 0.03,
    "bell doubled": 0.03,
    "bell late": 0.1,
    "report doubled": 0.01,
    "answer lost": 0.01,
    "no route": 0.005,
    "dies": 0.04,
    "dies at its end": 0.03,
}
"""How likely each fault is where it can happen."""
STRIKES = {
    "server dies",
    "worker cut off",
    "worker dies",
    "flush",
    "other redis",
    "reports lost",
    "bells lost",
    "hashes lost",
}
"""Larger faults, a few in each simulation."""
THEMES = (
    (),
    ("crash",),
    ("commit", "commit answer"),
    ("redis", "publish", "slow reaper"),
    ("bell lost", "bell doubled", "bell late"),
    ("report doubled", "answer lost", "no route"),
    ("dies", "dies at its end"),
    ("server dies", "worker cut off", "worker dies"),
    ("flush", "other redis", "reports lost", "bells lost", "hashes lost"),
    ("slow",),
    ("users", "commit answer"),
)
"""What happens more often than usual in one simulation."""


@dataclass
class Request:
    """A search that a user wants, and what was recorded of it."""

    plan: Plan
    owner: str
    silent: bool
    id: int | None = None
    want: str = ""
    """The user asked for its end."""


class World(Timeline):
    """Everything of one seed."""

    def __init__(self, seed: int, theme: Collection[str] | None, *, faults: bool = True) -> None:
        super().__init__(seed)
        self.faults = faults
        self.storm = self.random.choice([0.3, 1, 2])
        self.theme = THEMES[seed % len(THEMES)] if theme is None else theme
        self.slow = "slow" in self.theme
        self.local = not self.slow and self.chance(0.3)
        self.instance = "local" if self.local else "main"
        # Some commands must outlast the time after which a silent attempt is given up.
        self.longest_run = 60.0 if self.slow else 3.0
        self.redis = ModelRedis(self)
        self.store = ModelStore(self)
        self.logs = MemoryLogs()
        self.learner = Learner()
        self.server: Server | None = None
        self.requests: list[Request] = []
        self.executing: dict[int, ModelAttempt] = {}
        self.attempts: dict[int, list[ModelAttempt]] = {}
        self.looks: list[tuple[float, bool]] = []
        """When the reaper looked at the queue, and whether it and the stream were empty."""
        self.open = True
        self.resumed: set[int] = set()
        """Searches whose user perhaps resumed them."""
        self.hosts = [
            ModelHost(self, f"w{number}", QUEUE, self.random.randint(1, 3))
            for number in range(self.random.randint(1, 2))
        ]

    def begin(self) -> None:
        """Plan what comes from outside: servers, workers, users, faults."""
        dice = self.random
        self.boot()
        for host in self.hosts:
            self.after(dice.uniform(0, 0.5), host.hello)
        for _ in range(dice.randint(1, 3)):
            self.after(dice.uniform(0, 8), self.submit)
        self.after(1, self.look)
        if self.faults:
            often = 3 if STRIKES & set(self.theme) else 1
            for _ in range(round(self.storm * often * dice.randint(1, 4))):
                self.after(dice.uniform(0, FAULTS_END), self.strike)
            if self.slow:
                self.after(dice.uniform(5, 15), self.hosts[0].cut, LOST_AFTER + dice.uniform(-10, 20))

    # --- faults ---

    def fails(self, fault: str) -> bool:
        """Tell whether a fault happens now; after a while there are none, so that all must end."""
        if not self.faults or self.now >= FAULTS_END:
            return False
        often = 8 if fault in self.theme else 1
        return self.chance(FAULTS[fault] * self.storm * often)

    def effect(self) -> None:
        """Stand between two effects of the server: its process may end here."""
        if self.fails("crash"):
            raise Crash

    def strike(self) -> None:
        """Let one larger fault happen."""
        longest = 6.0 if self.local else 45.0
        kind = self.random.choice(sorted(STRIKES & set(self.theme) or STRIKES))
        if kind == "server dies":
            self.crash()
        elif kind in ("worker cut off", "worker dies"):
            host, seconds = self.random.choice(self.hosts), self.random.uniform(0.5, longest)
            (host.cut if kind == "worker cut off" else host.crash)(seconds)
        else:
            data = self.redis
            losses = {
                "flush": data.flush,
                "other redis": data.restart,
                "reports lost": data.lose_reports,
                "bells lost": data.lose_bells,
                "hashes lost": data.lose_attempts,
            }
            losses[kind]()

    def crash(self) -> None:
        """End the server process; another one comes."""
        if self.server is not None:
            self.server = None
            self.after(self.random.uniform(0.1, 2), self.boot)

    def boot(self) -> None:
        self.server = Server(self)

    # --- what the models tell ---

    def reports_waiting(self) -> None:
        if self.server is not None:
            self.after(self.random.uniform(0.001, 0.03), self.server.alive, self.server.ingest._loop)

    def bells_waiting(self, queue_name: str) -> None:
        self.after(self.random.uniform(0.001, 0.02), self.answer, queue_name)

    def answer(self, queue_name: str) -> None:
        """A free slot takes the oldest doorbell."""
        bells = self.redis.bells.get(queue_name, [])
        free = [slot for host in self.hosts for slot in host.slots if slot.idle]
        free = [slot for slot in free if self.now >= slot.host.cut_until]
        if bells and free:
            self.random.choice(free).ring(bells.pop(0))
            self.bells_waiting(queue_name)

    def box_filled(self, nonce: str) -> None:
        for host in self.hosts:
            for slot in host.slots:
                for one in (slot.claiming, slot.attempt and slot.attempt.identity):
                    if one is not None and one.nonce == nonce:
                        self.after(0.001, slot.look, one)

    def outcome(self, order: Mapping[str, Any]) -> Outcome:
        """Return how the command of an order ends."""
        texts = {name: one["text"] for name, one in order["params"].items()}
        with self.store.peek() as connection:
            record = searches.get(connection, order["search"])
        assert record is not None
        return self.outcome_of(self.request_of(record), texts)

    def outcome_of(self, request: Request, texts: Mapping[str, str]) -> Outcome:
        """Return how a command with these values ends."""
        return outcome(self.seed, texts, silent=request.silent)

    def request_of(self, record: SearchRecord) -> Request:
        """Return what the user had asked for, who may not have had the answer yet."""
        return next(one for one in self.requests if record.owner == one.owner)

    @property
    def calm(self) -> float:
        """When nothing fails any more and every worker is back."""
        return max(FAULTS_END, *(max(host.cut_until, host.down_until) for host in self.hosts))

    # --- users ---

    def submit(self) -> None:
        """A user wants a search of random kind and size."""
        dice = self.random
        kind = dice.choice(["grid", "random", "bayesian", "bayesian"])
        count = dice.randint(2, 3 if self.slow else 10)
        limit = dice.randint(1, min(4, count)) if kind == "bayesian" or self.chance(0.5) else None
        values = ValueSpec(tuple(f"v{i}" for i in range(count)))
        words = ("train", ":x:")
        space: dict[str, ValueSpec | RangeSpec] = {"x": values}
        if kind == "grid" and count < 6:
            space["y"], words = ValueSpec((1, 2)), ("train", ":x:", ":y:")
        if kind == "random":
            space["x"] = RangeSpec(0.1, 10.0, "log")
        spec = SearchSpec(
            kind,  # type: ignore[arg-type]
            Command(words),
            space,
            num_runs=None if kind == "grid" else count + (3 if self.chance(0.2) else 0),
            parallel_runs=limit,
            metric="m" if kind == "bayesian" or self.chance(0.7) else None,
            goal=dice.choice(["maximize", "minimize"]),
            seed=dice.randint(0, 10**6),
        )
        request = Request(
            plan(spec), f"user {len(self.requests)}", self.chance(1 if "silent" in self.theme else 0.15)
        )
        self.requests.append(request)
        self.ask_for(request)

    def ask_for(self, request: Request) -> None:
        """Send a request; when the answer is an error, look whether it was stored, and send it again."""
        found = self.store.rows(f"SELECT id FROM searches WHERE owner = '{request.owner}'")
        if found:
            request.id = found[0].id
            self.plan_interference(request)
            return
        self.command(
            lambda controller: controller.submit(
                request.plan, owner=request.owner, environment=None, queue_name=QUEUE, notices=[]
            )
        )
        self.after(0.5, self.ask_for, request)

    def plan_interference(self, request: Request) -> None:
        dice = self.random
        often = 3 if "users" in self.theme else 1
        if self.faults and self.chance(0.25 * often):
            self.after(dice.uniform(0.1, 12), self.end, request, dice.choice(["stop", "kill"]))
        for _ in range(often * 3 if self.faults else 0):
            if self.chance(0.1):
                self.after(dice.uniform(0.1, 8), self.end_some, request)

    def command(self, work: Callable[[Any], Any]) -> bool:
        """A user's command reaches the server; tell whether it was answered."""
        server = self.server
        if server is None:
            return False
        answered = []

        def ask() -> None:
            try:
                work(server.controller)
            except (AuguryError, OperationalError, redis.RedisError):
                return
            answered.append(True)

        server.alive(ask)
        return bool(answered)

    def end(self, request: Request, want: str) -> None:
        request.want = "kill" if "kill" in (request.want, want) else want
        if not self.command(lambda controller: controller.end_search(request.id, want)):
            self.after(0.5, self.end, request, want)

    def end_some(self, request: Request) -> None:
        with self.store.peek() as connection:
            members = [run.id for run in runs.of_search(connection, request.id or 0)]
        some = self.random.sample(members, min(2, len(members)))
        self.command(lambda controller: controller.end_runs(request.id, some, "kill"))

    def look(self) -> None:
        """The user looks once a second: paused searches are resumed or stopped."""
        self.after(1, self.look)
        self.bells_waiting(QUEUE)
        if self.server is not None and self.server.quiet:
            checks.check_memory(self)
        with self.store.peek() as connection:
            opened = searches.open_searches(connection)
        everything = all(request.id is not None for request in self.requests) and self.now > 9
        self.open = bool(opened) or not everything
        for search in opened:
            if search.state == "paused" and self.chance(0.3):
                request = self.request_of(search)
                self.resumed.add(search.id)
                if request.want or self.chance(0.5):
                    self.end(request, request.want or "stop")
                else:
                    self.command(lambda controller, search=search: controller.resume(search.id))

    # --- what is executed ---

    def started(self, attempt: ModelAttempt) -> None:
        """A process tree starts: it must be the only one of its run, and within the cap."""
        run = attempt.identity.run
        if run in self.executing:
            raise Violation(f"two attempts of run {run} are executed at once")
        before = self.attempts.setdefault(run, [])
        for other in before:
            if other.exit_s and other.acked >= other.exit_s:
                raise Violation(f"run {run} is executed again although its end was known")
        before.append(attempt)
        self.executing[run] = attempt
        with self.store.peek() as connection:
            record = searches.get(connection, attempt.order["search"])
        assert record is not None
        limit = record.spec.parallel_runs
        flying = sum(one.order["search"] == attempt.order["search"] for one in self.executing.values())
        if limit is not None and flying > limit:
            raise Violation(f"{flying} runs of search {attempt.order['search']} at once, at most {limit}")

    def stopped(self, attempt: ModelAttempt) -> None:
        """A process tree is gone."""
        self.executing.pop(attempt.identity.run, None)


@contextmanager
def inside(world: World) -> Iterator[None]:
    """Give the server's modules the clock and the adaptive sampler of a world."""
    clock, real = Clock(world), sampling.create

    def create(name: str, **options: Any) -> Any:
        return world.learner if name == "bayesian" else real(name, **options)

    with ExitStack() as patches:
        # By the globals of the classes: they may be those of a mutant.
        for part in (controller_module.Controller, ingest_module.Ingest, reaper_module.Reaper):
            patches.enter_context(mock.patch.dict(part.__init__.__globals__, time=clock))
        restoring = controller_module.learning_of.__globals__
        patches.enter_context(mock.patch.dict(restoring, warm_up=lambda: None))
        patches.enter_context(mock.patch.dict(orders.build.__globals__, GRACE_SECONDS=1.0))
        patches.enter_context(mock.patch.object(sampling, "create", create))
        yield


def simulate(seed: int, theme: Collection[str] | None = None, *, faults: bool = True) -> World:
    """Run one seed to its end and return the world as it is then.

    `theme` are the faults that happen most; without it the seed decides.

    Raises:
        Violation: something went wrong; the message names the seed, which replays alone.
    """
    world = World(seed, theme, faults=faults)
    try:
        with inside(world):
            world.begin()
            world.run(BOUND + 10 * world.longest_run, lambda: not world.open)
            # What is left of ended attempts is offered for a while longer.
            ended = world.now
            world.run(math.inf, lambda: world.now > max(ended, world.calm) + 12.0)
            checks.check_end(world)
    except Exception as error:
        raise Violation(f"seed {seed}, at {world.now:.3f} s: {error}") from error
    return world
