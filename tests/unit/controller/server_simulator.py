"""The real controller, ingest and reaper over the real store verbs, in one thread under a virtual clock.

Threads are turns: what ingest tells reaches the controller a little later, commands of users overtake it.
Every call to store, Redis and Celery may fail before or after its effect, and the server may die there.
Redis, the workers and their commands are models of `wire.md`.
"""

from __future__ import annotations

import math
import queue
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import checks
import redis
from model_redis import ModelBroker, ModelDoorbells, ModelRedis
from model_store import ModelStore
from model_worker import ModelAttempt, ModelHost
from sqlalchemy.exc import OperationalError
from timeline import Crash, Timeline, Violation

from augury import reaper as reaper_module
from augury.controller import loop as controller_module
from augury.controller import sampling
from augury.controller.submission import Plan, plan
from augury.dispatch import orders
from augury.errors import AuguryError
from augury.ingest import loop as ingest_module
from augury.ingest.messages import Hello
from augury.ingest.roster import Roster
from augury.logs import LogFiles
from augury.spec import Command, RangeSpec, SearchSpec, ValueSpec
from augury.store import runs, searches
from augury.store.records import SearchRecord
from augury_samplers import Observation, Space, Suggestion

FAULTS_END = 25.0
BOUND = FAULTS_END + 240.0
LOST_AFTER = 30.0
QUEUE = "t"
FAULTS = {
    "crash": 0.0005,
    "commit": 0.003,
    "commit answer": 0.002,
    "redis": 0.003,
    "publish": 0.01,
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
    ("redis", "publish"),
    ("bell lost", "bell doubled", "bell late"),
    ("report doubled", "answer lost", "no route"),
    ("dies", "dies at its end"),
    ("server dies", "worker cut off", "worker dies"),
    ("flush", "other redis", "reports lost", "bells lost", "hashes lost"),
    ("slow",),
    ("users", "commit answer"),
)
"""What happens more often than usual in one simulation."""


class Clock:
    """Stands in for the module `time`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def time(self) -> float:
        return 1e9 + self._world.now

    def monotonic(self) -> float:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        """Nothing waits here: what comes meanwhile is in the mailbox already."""


class Mailbox(queue.SimpleQueue):  # type: ignore[type-arg]
    """Stands in for the controller's mailbox; `ready` is what its thread will see."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.ready: deque[Callable[[], None]] = deque()
        self.transit: deque[Callable[[], None]] = deque()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item.__name__ == "run":
            # A command: its caller waits for it, so all of it happens now.
            self.ready.append(item)
            self._server.controller._loop()
        else:
            self.transit.append(item)
            self._server.world.after(self._server.world.random.uniform(0, 0.02), self._server.deliver)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return self.ready.popleft() if self.ready else None


class OneRound:
    """Stands in for the event that ends a thread: lets its loop run once."""

    def __init__(self) -> None:
        self._rounds = 0

    def is_set(self) -> bool:
        self._rounds += 1
        return self._rounds % 2 == 0

    def wait(self, timeout: float) -> bool:
        return False


class MemoryLogs(LogFiles):
    """Output of attempts in memory."""

    def __init__(self) -> None:
        self.written: dict[tuple[int, int], dict[int, bytes]] = {}

    def write(self, run_id: int, token: int, offset: int, data: bytes) -> None:
        self.written.setdefault((run_id, token), {})[offset] = data


@dataclass(frozen=True)
class Outcome:
    """How a command ends, by its values."""

    code: int
    points: Sequence[float]

    @property
    def state(self) -> str:
        return "complete" if self.code == 0 else "failed"

    @property
    def objective(self) -> float | None:
        last = self.points[-1] if self.points and self.code == 0 else math.nan
        return last if math.isfinite(last) else None


def outcome(seed: int, texts: Mapping[str, str], *, silent: bool) -> Outcome:
    """Return what the command with these values does, whenever and wherever it is executed."""
    dice = sum(ord(letter) * (i + 7) for i, letter in enumerate("/".join(texts.values()))) + seed
    code = 1 if dice % 7 == 0 else 0
    points = [float(dice % 13), float(dice % 11), math.nan if dice % 5 == 0 else float(dice % 101)]
    return Outcome(code, [] if silent or dice % 6 == 0 else points)


@dataclass
class Ask:
    """One call of the adaptive sampler."""

    index: int
    observations: list[tuple[str, float | None]]
    pending: list[str]
    memo: dict[str, Any] | None
    text: str | None


@dataclass
class Learner:
    """A cheap sampler whose every suggestion depends on all that it is told."""

    asks: dict[int, list[Ask]] = field(default_factory=dict)
    """By the seed of the search."""
    adaptive = True

    def size(self, space: Space) -> None:
        return None

    def suggest(
        self,
        space: Space,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Any]],
        seed: int,
        index: int,
        memo: dict[str, Any] | None,
    ) -> tuple[Suggestion | None, dict[str, Any] | None]:
        seen = [(str(one.values["x"]), one.objective) for one in observations]
        flying = [str(one["x"]) for one in pending]
        used = {text for text, _ in seen} | set(flying)
        [choice] = space.parameters
        free = [text for text in choice.values if text not in used]
        before = memo["trail"] if memo else seed
        trail = hash((before, index, len(free), *(hash(value or 0.5) for _, value in seen), len(flying)))
        text = free[trail % len(free)] if free else None
        self.asks.setdefault(seed, []).append(Ask(index, seen, flying, memo, text))
        if text is None:
            return None, memo
        return Suggestion({"x": text}, "model"), {"asked": index + 1, "trail": trail}


@dataclass
class Request:
    """A search that a user wants, and what was recorded of it."""

    plan: Plan
    owner: str
    silent: bool
    id: int | None = None
    want: str = ""
    """The user asked for its end."""


class Server:
    """One server process: the real parts, wired as the service does."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.store.opened()
        self.broker = ModelBroker(world, world.store.epoch)
        self.controller = controller_module.Controller(world.store, self.broker, ModelDoorbells(world))
        self.mailbox = Mailbox(self)
        self.controller._mailbox = self.mailbox
        self.roster = Roster(self.controller.slots_changed)
        lost_after = None if world.local else LOST_AFTER
        self.ingest = ingest_module.Ingest(
            world.store,
            self.broker,
            self.controller,
            world.logs,
            instance=world.instance,
            environments=None,
            lost_after=lost_after,
            on_hello=self._hello,
            on_told=lambda told: None,
        )
        self.reaper = reaper_module.Reaper(
            world.store,
            self.broker,
            self.controller,
            self.ingest,
            self.roster,
            lost_after=lost_after,
        )
        self.ingest._stopping = OneRound()
        self.reaper._stopping = OneRound()
        self.mailbox.put(self.controller._reload)
        world.after(world.random.uniform(0, 0.02), self.alive, self.ingest._loop)
        world.after(world.random.uniform(0, 1), self.tick)

    def _hello(self, hello: Hello) -> None:
        self.roster.hello(hello, self.world.now)

    def alive(self, work: Callable[[], Any]) -> None:
        """Do work of this process, if it is still there; a crash in it is its end."""
        if self.world.server is not self:
            return
        try:
            work()
        except Crash:
            self.world.crash()

    def deliver(self) -> None:
        """What ingest or reaper told is in the controller's mailbox now."""
        self.mailbox.ready.append(self.mailbox.transit.popleft())
        self.alive(self.controller._loop)

    def tick(self) -> None:
        if self.world.server is self:
            self.world.after(1, self.tick)
            self.alive(self.reaper._loop)
            self.alive(self.ingest._loop)

    @property
    def quiet(self) -> bool:
        """The controller has heard of everything."""
        return not self.mailbox.ready and not self.mailbox.transit


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
        request = Request(plan(spec), f"user {len(self.requests)}", self.chance(0.15))
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
        controller = controller_module.Controller.__init__.__globals__
        patches.enter_context(mock.patch.dict(controller, warm_up=lambda: None))
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
