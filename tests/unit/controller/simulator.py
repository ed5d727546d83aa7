"""A whole instance in one thread, around the real `step`: store, broker, workers and users are models.

Doorbells are lost, doubled and reordered, the broker is flushed, workers die or come back late, the
server crashes between any two effects, users stop and kill. After every turn the decisions are
compared with what the model store says; the first difference ends the simulation as a `Violation`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from timeline import Crash, Timeline, Violation

from augury.controller import state as st
from augury.controller.state import RUNS_WITHOUT_METRIC, SPARE_DOORBELLS, Action, Event, SearchProgress
from augury.controller.step import step as real_step
from augury.run import FINAL_STATES, MAX_LOST_ATTEMPTS

Step = Callable[[st.State, Event], list[Action]]

FAULTS_END = 30.0
"""After so many seconds nothing fails any more, so that everything has to come to its end."""
REAP_SECONDS = 12.0
LONGEST_RUN = 2.5
FINAL = 10**9
"""Stands for the token of a run that has ended: nothing comes after it."""


@dataclass
class Run:
    """A row of `runs`."""

    id: int
    search: Search
    position: int
    state: str = "queued"
    token: int = 1
    nonce: int = 0
    want: str = ""
    lost: int = 0
    has_metric: bool | None = None
    landed: int = 0

    @property
    def final(self) -> bool:
        return self.state in FINAL_STATES


@dataclass
class Search:
    """A row of `searches` with its runs."""

    id: int
    queue: str
    adaptive: bool
    num_runs: int
    limit: int | None
    metric: bool
    space: int
    """The sampler gives so many runs and no more."""
    silent: bool
    """None of its runs sends the metric."""
    state: str = "running"
    want: str = ""
    forgiven: int = 0
    """Landings that count no more towards a pause: the user resumed it after them."""
    runs: list[Run] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.state in ("running", "paused")

    @property
    def open_runs(self) -> list[Run]:
        return [run for run in self.runs if not run.final]


@dataclass
class Slot:
    """A place on a worker: at most one attempt, held by its (run, token, nonce)."""

    queue: str
    attempt: tuple[int, int, int] | None = None
    granted: bool = False
    epoch: int = 0
    """Grows when it dies or gets free: what was planned for its former attempt is void."""


class World(Timeline):
    """Store, broker, workers and users of one seed; `server` is there unless it has just crashed."""

    def __init__(self, seed: int, decide: Step = real_step, *, faults: bool = True) -> None:
        super().__init__(seed)
        self.decide = decide
        self.faults = faults
        self.searches: dict[int, Search] = {}
        self.runs: dict[int, Run] = {}
        self.landings = 0
        self.nonces = 0
        self.bells: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
        self.stream: list[tuple[str, int, int, int]] = []
        self.heard: dict[int, float] = {}
        self.slots = [Slot("a") for _ in range(self.random.randint(1, 4))]
        self.slots += [Slot("b") for _ in range(self.random.randint(0, 2))]
        self.server: Server | None = None
        self.to_come = self.random.randint(1, 3)
        self.crashes = 0
        for _ in range(self.to_come):
            self.after(self.random.uniform(0, 6), self.submit)
        self.storm = self.random.choice([0.5, 1, 3]) if faults else 0
        for _ in range(round(self.storm * self.random.randint(0, 3))):
            self.after(self.random.uniform(0, FAULTS_END), self.random.choice([self.flush, self.crash]))
        self.after(0, self.boot)
        self.after(1, self.tick)

    @property
    def failing(self) -> bool:
        """Faults may still happen."""
        return self.faults and self.now < FAULTS_END

    def fails(self, probability: float) -> bool:
        """Tell whether a fault happens now."""
        return self.failing and self.chance(probability * self.storm)

    # --- the server comes and goes ---

    def boot(self) -> None:
        server = Server(self)
        self.server = server
        if self.chance(0.5):
            # Ingest may be faster than the controller: what it tells is older than what is read then.
            self.guarded(server, server.read)
        self.guarded(server, server.rebuild)

    def guarded(self, server: Server, work: Callable[[], None]) -> None:
        """Do `work` of a server if it is still there; a crash in it ends the server."""
        if self.server is not server:
            return
        try:
            work()
        except Crash:
            self.crash()

    def crash(self) -> None:
        """End the server now; another one comes."""
        if self.server is not None:
            self.server = None
            self.crashes += 1
            self.after(self.random.uniform(0.1, 2), self.boot)

    def tick(self) -> None:
        self.after(1, self.tick)
        if self.server is not None:
            self.guarded(self.server, self.server.tick)

    # --- users ---

    def submit(self) -> None:
        """A user submits a search of random kind and size."""
        dice = self.random
        adaptive = self.chance(0.4)
        num_runs = dice.randint(1, 14)
        limit = dice.randint(1, min(4, num_runs)) if adaptive or self.chance(0.5) else None
        space = dice.randint(1, num_runs) if adaptive and self.chance(0.25) else num_runs
        queue = "b" if self.chance(0.2) and any(slot.queue == "b" for slot in self.slots) else "a"
        metric, silent = self.chance(0.6), self.chance(0.2)
        search = Search(0, queue, adaptive, num_runs, limit, adaptive or metric, space, silent)
        self.ask_for(search)
        if self.faults and self.chance(0.25):
            self.after(dice.uniform(0.2, 12), self.end, search, dice.choice(["stop", "kill"]))
        if self.faults and self.chance(0.3):
            self.after(dice.uniform(0.2, 8), self.end_some, search)

    def ask_for(self, search: Search) -> None:
        """The request of a search reaches the server: again after a while, when that has died of it."""
        server = self.server
        if search.id == 0:
            if server is not None:
                server.order(lambda: server.open(search))
            self.after(1, self.ask_for, search)

    def end(self, search: Search, want: str) -> None:
        server = self.server
        if server is not None and search.id and search.open:
            server.order(lambda: server.end_search(search, want))

    def end_some(self, search: Search) -> None:
        server = self.server
        if server is not None and search.runs:
            some = self.random.sample(search.runs, min(len(search.runs), 3))
            server.order(lambda: server.end_runs(some, "kill"))

    def paused(self, search: Search) -> None:
        """The user looks at a paused search after a while."""
        self.after(self.random.uniform(1, 5), self.look_at, search)

    def look_at(self, search: Search) -> None:
        server = self.server
        if search.state != "paused" or search.want:
            return
        if server is not None and self.chance(0.5):
            server.order(lambda: server.resume(search))
        elif server is not None:
            server.order(lambda: server.end_search(search, "stop"))
        self.after(1, self.look_at, search)

    # --- broker and workers ---

    def publish(self, queue: str, run_id: int, token: int) -> None:
        """A doorbell reaches its queue: never, once or twice, not always at its end."""
        for _ in range(0 if self.fails(0.05) else 2 if self.fails(0.05) else 1):
            bells = self.bells[queue]
            place = self.random.randint(0, len(bells)) if self.fails(0.1) else len(bells)
            bells.insert(place, (run_id, token))
        self.after(self.random.uniform(0.001, 0.1), self.answer, queue)

    def answer(self, queue: str) -> None:
        """A free slot takes the oldest doorbell and asks for the run."""
        free = [slot for slot in self.slots if slot.queue == queue and slot.attempt is None]
        if not free or not self.bells[queue]:
            return
        run_id, token = self.bells[queue].pop(0)
        self.nonces += 1
        slot = self.random.choice(free)
        slot.attempt, slot.granted = (run_id, token, self.nonces), False
        self.claim(slot, slot.epoch)

    def claim(self, slot: Slot, epoch: int) -> None:
        """Ask, and again every 2 s until there is an answer."""
        if slot.epoch == epoch and not slot.granted and slot.attempt is not None:
            self.say("claim", slot.attempt)
            self.after(2, self.claim, slot, epoch)
            if self.fails(0.05):
                self.after(self.random.uniform(0, 0.1), self.die, slot, epoch)

    def say(self, kind: str, attempt: tuple[int, int, int]) -> None:
        """A report reaches the stream, perhaps late, perhaps twice."""
        for _ in range(2 if self.fails(0.05) else 1):
            late = self.random.uniform(1, 8) if self.fails(0.03) else self.random.uniform(0.001, 0.05)
            self.after(late, self.arrive, (kind, *attempt))

    def arrive(self, message: tuple[str, int, int, int]) -> None:
        self.stream.append(message)
        if self.server is not None:
            self.after(0.005, self.guarded, self.server, self.server.read)

    def grant(self, attempt: tuple[int, int, int]) -> None:
        """The answer to a claim reaches its slot, if that still waits for it."""
        for slot in self.slots:
            if slot.attempt == attempt and not slot.granted and not self.fails(0.03):
                slot.granted = True
                self.after(self.random.uniform(0.05, LONGEST_RUN), self.complete, slot, slot.epoch)
                if self.fails(0.1):
                    self.after(self.random.uniform(0, LONGEST_RUN), self.die, slot, slot.epoch)

    def deny(self, attempt: tuple[int, int, int]) -> None:
        for slot in self.slots:
            if slot.attempt == attempt and not slot.granted:
                self.free(slot)

    def complete(self, slot: Slot, epoch: int) -> None:
        """The command ends; its last report is repeated until the store knows of it."""
        if slot.epoch == epoch and slot.attempt is not None:
            self.deliver("final", slot.attempt)
            self.free(slot)

    def deliver(self, kind: str, attempt: tuple[int, int, int]) -> None:
        run_id, token, nonce = attempt
        run = self.runs[run_id]
        if not run.final and run.token == token and run.nonce in (0, nonce):
            self.say(kind, attempt)
            self.after(2, self.deliver, kind, attempt)

    def die(self, slot: Slot, epoch: int) -> None:
        """The worker of a slot dies: it is told of, or silent; one that was only frozen speaks much later."""
        if slot.epoch != epoch or slot.attempt is None:
            return
        fate = self.random.choice(["told", "silent", "late"])
        if fate == "told":
            self.after(self.random.uniform(0, 3), self.deliver, "died", slot.attempt)
        elif fate == "late":
            self.after(REAP_SECONDS + 5, self.say, "final", slot.attempt)
        slot.epoch += 1
        self.after(self.random.uniform(0.5, 4), self.free, slot)

    def free(self, slot: Slot) -> None:
        slot.attempt, slot.granted = None, False
        slot.epoch += 1
        self.after(0.01, self.answer, slot.queue)

    def woken(self, run: Run) -> None:
        """A wish reaches the attempt that holds a run: it ends."""
        for slot in self.slots:
            if slot.granted and slot.attempt == (run.id, run.token, run.nonce):
                self.after(self.random.uniform(0.01, 1), self.complete, slot, slot.epoch)

    def flush(self) -> None:
        """Everything that the broker holds is gone."""
        self.stream.clear()
        for bells in self.bells.values():
            bells.clear()


class Server:
    """Controller, ingest and reaper of one server process, over the model store of its world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.state = st.State()
        self.mailbox: deque[Callable[[], None]] = deque()
        self.transit: deque[Event] = deque()
        """Told by ingest, but not yet in the mailbox: another thread was faster."""
        self.busy = True
        self.empty_since: dict[str, float] = {}
        self.rung: dict[int, int] = {}
        """Doorbells of this server (run -> token) of which nothing was told since."""
        self.held: set[int] = set()
        """Runs of which a claim was told."""
        self.known: dict[int, int] = {}
        """The token of every run, as it was told last."""
        self.rings: set[tuple[int, int]] = set()
        self.told: dict[int, tuple[int, int]] = {}
        """Runs of a search with and without their metric, as they were told."""
        self.exhausted: set[int] = set()
        """Searches whose sampler was asked for more than there is."""
        self.passed: dict[int, int] = {}

    def effect(self) -> None:
        """Stand between two effects: the process may end here."""
        if self.world.fails(0.003):
            raise Crash

    # --- mailbox ---

    def order(self, work: Callable[[], None]) -> None:
        """A command of a user is queued for the controller."""
        self.mailbox.append(work)
        self.wake()

    def tell(self, event: Event) -> None:
        """Ingest or reaper has committed something: the controller hears of it in order, a little later."""
        self.transit.append(event)
        self.world.after(self.world.random.uniform(0, 0.02), self.world.guarded, self, self.pass_on)

    def pass_on(self) -> None:
        if self.transit:
            event = self.transit.popleft()
            self.mailbox.append(lambda: self.take(event))
            self.wake()

    def wake(self) -> None:
        if not self.busy:
            self.busy = True
            self.world.after(0.001, self.world.guarded, self, self.turn)

    def turn(self) -> None:
        while self.mailbox:
            self.mailbox.popleft()()
        self.busy = False
        self.audit()

    def take(self, event: Event) -> None:
        self.note(event)
        todo = deque(self.world.decide(self.state, event))
        done = 0
        while todo:
            done += 1
            require(done < 1000, f"there is no end of what follows from {event}")
            self.effect()
            todo.extend(self.carry_out(todo.popleft()))

    def note(self, event: Event) -> None:
        """Keep books of doorbells and claims beside those of `step`."""
        if isinstance(event, st.Claimed):
            if self.known.get(event.run_id) == event.token:
                self.rung.pop(event.run_id, None)
                self.held.add(event.run_id)
        elif isinstance(event, st.Requeued):
            self.renewed(event.run_id, event.token)
        elif isinstance(event, st.RunEnded):
            if self.known.get(event.run_id) != FINAL and event.has_metric is not None:
                search_id = self.world.runs[event.run_id].search.id
                given, missing = self.told[search_id]
                self.told[search_id] = (given + event.has_metric, missing + (not event.has_metric))
            self.renewed(event.run_id, FINAL)
        elif isinstance(event, st.Resumed):
            self.told[event.search_id] = (self.told[event.search_id][0], 0)
        elif isinstance(event, st.TokensRenewed):
            for run_id, token in event.tokens.items():
                self.renewed(run_id, token)

    def renewed(self, run_id: int, token: int) -> None:
        """What was told of a run under an older token is void."""
        if self.known.get(run_id, 0) < token:
            self.known[run_id] = token
            self.rung.pop(run_id, None)
            self.held.discard(run_id)

    # --- actions ---

    def carry_out(self, action: Action) -> list[Action]:
        world = self.world
        if isinstance(action, st.Ring):
            self.ring(action)
            return []
        search = world.searches[action.search_id]
        if isinstance(action, st.Ask):
            return self.ask(search)
        require(search.open, f"search {search.id} is told to change although it is {search.state}")
        if isinstance(action, st.Pause):
            given, missing = self.told[search.id]
            due = search.metric and given == 0 and missing >= RUNS_WITHOUT_METRIC
            require(due, f"search {search.id} is paused for nothing")
            search.state = "paused"
            world.paused(search)
            return []
        require(not search.open_runs, f"search {search.id} is ended with open runs")
        expected = {"kill": "killed", "stop": "stopped", "": "finished"}[search.want]
        require(action.state == expected, f"search {search.id} is {action.state}, not {expected}")
        cut = not search.want and len(search.runs) < search.num_runs
        require(action.exhausted == cut, f"search {search.id} is exhausted: {action.exhausted}, not {cut}")
        search.state = action.state
        return []

    def ring(self, ring: st.Ring) -> None:
        world, run = self.world, self.world.runs[ring.run_id]
        search = run.search
        require((ring.run_id, ring.token) not in self.rings, f"run {run.id} rings twice under one token")
        require(ring.queue == search.queue, f"run {run.id} rings on queue {ring.queue}")
        require(not search.want, f"run {run.id} rings although its search shall end")
        require(search.state == "running", f"run {run.id} rings although its search is {search.state}")
        self.rings.add((ring.run_id, ring.token))
        self.rung[run.id] = ring.token
        waiting = sum(world.runs[one].search.queue == ring.queue for one in self.rung)
        slots = sum(slot.queue == ring.queue for slot in world.slots)
        require(waiting <= slots + SPARE_DOORBELLS, f"{waiting} doorbells for {slots} slots")
        flying = self.flying(search)
        if search.limit is not None:
            require(flying <= search.limit, f"search {search.id}: {flying} in flight, at most {search.limit}")
        self.count_passes(search)
        world.publish(ring.queue, ring.run_id, ring.token)

    def flying(self, search: Search) -> int:
        return sum(run.id in self.rung or run.id in self.held for run in search.runs)

    def count_passes(self, served: Search) -> None:
        """No search that has nothing in flight is passed over more often than there are searches."""
        self.passed[served.id] = 0
        for other in self.state.searches.values():
            search = self.world.searches[other.id]
            idle = search.queue == served.queue and search.state == "running" and not search.want
            if search is not served and idle and other.waiting and not self.flying(search):
                self.passed[search.id] = self.passed.get(search.id, 0) + 1
                require(self.passed[search.id] <= len(self.world.searches), f"search {search.id} is starved")

    def ask(self, search: Search) -> list[Action]:
        require(search.adaptive and not search.want, f"search {search.id} is asked for a run")
        if len(search.runs) >= search.space:
            self.exhausted.add(search.id)
            return self.world.decide(self.state, st.Exhausted(search.id))
        [run] = self.add_runs(search, 1)
        require(len(search.runs) <= search.num_runs, f"search {search.id} has too many runs")
        require(len(search.open_runs) <= (search.limit or 0), f"search {search.id} has more runs than it may")
        self.effect()
        self.known[run.id] = run.token
        return self.world.decide(self.state, st.RunsCreated(search.id, [(run.id, run.token)]))

    def add_runs(self, search: Search, count: int) -> list[Run]:
        world = self.world
        fresh = [
            Run(len(world.runs) + 1 + i, search, len(search.runs) + i, want=search.want) for i in range(count)
        ]
        search.runs += fresh
        world.runs |= {run.id: run for run in fresh}
        return fresh

    # --- commands ---

    def open(self, search: Search) -> None:
        if search.id:
            return
        search.id = len(self.world.searches) + 1
        self.world.searches[search.id] = search
        self.world.to_come -= 1
        first = min(search.space, search.limit or search.space) if search.adaptive else search.num_runs
        self.add_runs(search, first)
        self.effect()
        self.take(st.SearchOpened(self.progress(search)))

    def end_search(self, search: Search, want: str) -> None:
        if not search.open:
            return
        search.want = "kill" if "kill" in (search.want, want) else want
        killed = self.want_runs(search.runs, want)
        self.effect()
        self.take(st.Wanted(search.id, want))
        self.tell_killed(killed)

    def end_runs(self, some: list[Run], want: str) -> None:
        killed = self.want_runs(some, want)
        self.effect()
        self.tell_killed(killed)

    def want_runs(self, some: list[Run], want: str) -> list[Run]:
        queued = [run for run in some if run.state == "queued"]
        for run in queued:
            run.state, run.token = "killed", run.token + 1
        for run in some:
            if run.state == "running":
                run.want = "kill" if "kill" in (run.want, want) else want
                self.world.woken(run)
        return queued

    def tell_killed(self, killed: list[Run]) -> None:
        for run in killed:
            self.take(st.RunEnded(run.id, "killed"))

    def resume(self, search: Search) -> None:
        if search.state != "paused":
            return
        search.state, search.forgiven = "running", self.world.landings
        self.effect()
        self.take(st.Resumed(search.id))

    # --- ingest ---

    def read(self) -> None:
        """Take in what the stream holds, and only then remove it."""
        seen = list(self.world.stream)
        for kind, run_id, token, nonce in seen:
            self.effect()
            self.take_in(kind, self.world.runs[run_id], token, nonce)
        del self.world.stream[: len(seen)]

    def take_in(self, kind: str, run: Run, token: int, nonce: int) -> None:
        world, attempt = self.world, (run.id, token, nonce)
        if kind == "claim" and run.state == "queued" and run.token == token and not run.want:
            run.state, run.nonce = "running", nonce
            world.heard[run.id] = world.now
            held = sum(one.state == "running" for one in run.search.runs)
            limit = run.search.limit
            require(limit is None or held <= limit, f"search {run.search.id}: {held} held, at most {limit}")
            self.effect()
            self.tell(st.Claimed(run.id, token))
        holds = run.state == "running" and (run.token, run.nonce) == (token, nonce)
        if kind == "claim":
            (world.grant if holds else world.deny)(attempt)
        elif holds and kind == "final":
            self.land(run)
        elif holds and kind == "died":
            self.lose(run)

    def land(self, run: Run) -> None:
        state = {"kill": "killed", "stop": "stopped"}.get(run.want, "complete")
        self.end_run(run, state)
        if state == "complete" and run.search.metric:
            # A function of the run alone: the same whatever happened on the way.
            run.has_metric = (
                not run.search.silent and hash((self.world.seed, run.search.id, run.position)) % 4 > 0
            )
        self.effect()
        self.tell(st.RunEnded(run.id, run.state, run.has_metric))

    def lose(self, run: Run) -> None:
        run.token, run.nonce, run.lost = run.token + 1, 0, run.lost + 1
        if run.want or run.lost > MAX_LOST_ATTEMPTS:
            self.end_run(run, "killed" if run.want else "interrupted")
            self.effect()
            self.tell(st.RunEnded(run.id, run.state))
        else:
            run.state = "queued"
            self.effect()
            self.tell(st.Requeued(run.id, run.token))

    def end_run(self, run: Run, state: str) -> None:
        require(not run.final, f"run {run.id} becomes final twice")
        self.world.landings += 1
        run.state, run.landed = state, self.world.landings

    # --- reaper ---

    def tick(self) -> None:
        world = self.world
        for slot in world.slots:
            if slot.granted and slot.attempt is not None:
                world.heard[slot.attempt[0]] = world.now
        for run in list(world.runs.values()):
            if run.state == "running" and world.now - world.heard[run.id] > REAP_SECONDS:
                self.lose(run)
        for queue, bells in world.bells.items():
            rung = [run_id for run_id in self.rung if world.runs[run_id].search.queue == queue]
            if bells or world.stream or not rung:
                self.empty_since.pop(queue, None)
            elif world.now - self.empty_since.setdefault(queue, world.now) >= 2:
                del self.empty_since[queue]
                self.order(lambda queue=queue: self.renew(queue))

    def renew(self, queue: str) -> None:
        lost = [run for one in self.state.queue(queue).searches.values() for run in one.rung]
        self.effect()
        queued = [run for run_id in lost if (run := self.world.runs[run_id]).state == "queued"]
        for run in queued:
            run.token += 1
        self.effect()
        self.take(st.TokensRenewed({run.id: run.token for run in queued}))

    # --- start ---

    def rebuild(self) -> None:
        """Read everything from the store, as a server that has just started."""
        for queue in self.world.bells:
            slots = sum(slot.queue == queue for slot in self.world.slots)
            self.take(st.SlotsChanged(queue, slots))
        for search in list(self.world.searches.values()):
            if search.open:
                self.take(st.SearchOpened(self.progress(search)))
                if search.state == "paused":
                    self.world.paused(search)
        self.busy = False
        self.wake()
        self.world.after(0.01, self.world.guarded, self, self.read)

    def progress(self, search: Search) -> SearchProgress:
        """Return a search as the controller reads it from the store."""
        progress = SearchProgress(
            search.id,
            search.queue,
            adaptive=search.adaptive,
            limit=search.limit,
            num_runs=search.num_runs,
            metric="m" if search.metric else None,
            created=len(search.runs),
            final=sum(run.final for run in search.runs),
            paused=search.state == "paused",
            want=search.want,
        )
        progress.with_metric, progress.without_metric = self.told[search.id] = metrics(search)
        for run in search.runs:
            self.known[run.id] = FINAL
        for run in search.open_runs:
            if run.state == "queued":
                progress.waiting.append(run.id)
            else:
                progress.held.add(run.id)
                self.held.add(run.id)
            progress.tokens[run.id] = self.known[run.id] = run.token
        return progress

    # --- what must hold whenever the controller has heard of everything ---

    def audit(self) -> None:
        if self.transit or self.mailbox:
            return
        for search in self.world.searches.values():
            self.audit_search(search)
        for queue in self.world.bells:
            self.audit_queue(queue)

    def audit_search(self, search: Search) -> None:
        name, opened = f"search {search.id}", search.open_runs
        full = len(search.runs) >= search.num_runs or search.id in self.exhausted or bool(search.want)
        require(not search.open or opened or not full, f"{name} has no open run and was not ended")
        if not search.open:
            return
        progress = self.state.searches[search.id]
        queued = {run.id for run in opened if run.state == "queued"}
        held = {run.id for run in opened if run.state == "running"}
        require({*progress.waiting, *progress.rung} == queued, f"{name}: not the queued runs")
        require(progress.held == held, f"{name}: not the held runs")
        require(progress.tokens == {run.id: run.token for run in opened}, f"{name}: not the tokens")
        require(progress.created == len(search.runs), f"{name}: not the number of runs")
        require(progress.final == len(search.runs) - len(opened), f"{name}: not the final runs")
        given, missing = self.told[search.id]
        require(
            (progress.with_metric, progress.without_metric) == (given, missing), f"{name}: not the metrics"
        )
        # A run that landed just before a resume may have been told just after it.
        require(search.forgiven > 0 or metrics(search) == (given, missing), f"{name}: not the stored metrics")
        due = search.metric and given == 0 and missing >= RUNS_WITHOUT_METRIC and not search.want
        require(not due or search.state == "paused", f"{name} goes on without its metric")
        if search.adaptive and search.state == "running" and not full:
            require(len(opened) == search.limit, f"{name}: {len(opened)} open runs, {search.limit} wanted")

    def audit_queue(self, queue: str) -> None:
        """Nothing that may ring waits while the window has room."""
        slots = sum(slot.queue == queue for slot in self.world.slots)
        rung = sum(self.world.runs[run_id].search.queue == queue for run_id in self.rung)
        if rung >= slots + SPARE_DOORBELLS:
            return
        for search in self.world.searches.values():
            if search.queue != queue or search.state != "running" or search.want:
                continue
            waits = any(run.state == "queued" and run.id not in self.rung for run in search.runs)
            room = search.limit is None or self.flying(search) < search.limit
            require(not (waits and room), f"search {search.id} waits although the window has room")


def metrics(search: Search) -> tuple[int, int]:
    """Return how many runs had their metric, and how many had not since the user last resumed."""
    given = sum(run.has_metric is True for run in search.runs)
    return given, sum(run.has_metric is False and run.landed > search.forgiven for run in search.runs)


def require(holds: bool, message: str) -> None:
    """Raise `Violation` unless it holds."""
    if not holds:
        raise Violation(message)


def simulate(seed: int, decide: Step = real_step, *, faults: bool = True) -> World:
    """Run one seed to its end and return the world as it is then.

    Raises:
        Violation: something went wrong; the message names the seed, which replays alone.
    """
    world = World(seed, decide, faults=faults)

    def done() -> bool:
        return (
            world.to_come == 0
            and bool(world.searches)
            and not any(search.open for search in world.searches.values())
            and (world.server is not None and not world.server.mailbox)
        )

    try:
        world.run(FAULTS_END + 200, done)
        for search in world.searches.values():
            check_end(search)
    except Exception as error:
        raise Violation(f"seed {seed}, at {world.now:.3f} s: {error}") from error
    return world


def check_end(search: Search) -> None:
    """Check a search that has ended, from the store alone."""
    name = f"search {search.id}"
    require([run.position for run in search.runs] == list(range(len(search.runs))), f"{name}: a gap")
    require(all(run.final for run in search.runs), f"{name} has ended with open runs")
    if search.state == "finished":
        expected = min(search.num_runs, search.space) if search.adaptive else search.num_runs
        require(len(search.runs) == expected, f"{name}: {len(search.runs)} runs, not {expected}")
