"""A whole instance in one thread, around the real `step`: store, broker, workers and users are models.

Doorbells are lost, doubled and reordered, the broker is flushed, workers die or come back late, the
server crashes between any two effects, users stop and kill. After every turn the decisions are
compared with what the model store says; the first difference ends the simulation as a `Violation`.
"""

from __future__ import annotations

from collections.abc import Callable

from step_rows import Run, Search, Slot, require
from step_server import REAP_SECONDS, Server
from timeline import Crash, Timeline, Violation

from augury.controller.state import Action, Event, State
from augury.controller.step import step as real_step

Step = Callable[[State, Event], list[Action]]

FAULTS_END = 30.0
"""After so many seconds nothing fails any more, so that everything has to come to its end."""
LONGEST_RUN = 2.5


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
