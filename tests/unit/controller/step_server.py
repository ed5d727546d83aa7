"""Controller, ingest and reaper of one server process, with the real `step` in the middle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from step_rows import Run, Search, metrics, require
from timeline import Crash

from augury.controller import state as st
from augury.controller.state import RUNS_WITHOUT_METRIC, SPARE_DOORBELLS, Action, Event, SearchProgress
from augury.run import MAX_LOST_ATTEMPTS

if TYPE_CHECKING:
    from simulator import World

REAP_SECONDS = 12.0
FINAL = 10**9
"""Stands for the token of a run that has ended: nothing comes after it."""


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
