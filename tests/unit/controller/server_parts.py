"""One server process of the simulation: the real parts, their threads driven by hand."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from model_redis import ModelBroker, ModelDoorbells
from timeline import Crash, Violation

from augury import reaper as reaper_module
from augury.controller import loop as controller_module
from augury.ingest import loop as ingest_module
from augury.ingest.messages import Hello
from augury.ingest.roster import Roster
from augury.logs import LogFiles

if TYPE_CHECKING:
    from server_simulator import World

LOST_AFTER = 30.0
"""A silent attempt is given up after so many seconds."""


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


class Server:
    """One server process: the real parts, wired as the service does."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.store.opened()
        self.broker = ModelBroker(world, world.store.epoch)
        self.controller = controller_module.Controller(world.store, self.broker, ModelDoorbells(world))
        self.mailbox = Mailbox(self)
        self.controller._mailbox = self.mailbox
        self.controller.doorbells_lost = self._doorbells_lost  # type: ignore[method-assign]
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
            admit=lambda claim: None,
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
            tell_workers=lambda: None,
        )
        self.ingest._stopping = OneRound()
        self.reaper._stopping = OneRound()
        self.mailbox.put(self.controller._reload)
        world.after(world.random.uniform(0, 0.02), self.alive, self.ingest._loop)
        world.after(world.random.uniform(0, 1), self.tick)

    def _doorbells_lost(self, queue_name: str) -> None:
        """Doorbells count as lost only when every look at their queue for 2 s has found it empty."""
        now = self.world.now
        looks = [empty for at, empty in self.world.looks if at >= now - 2.5]
        if len(looks) < 2 or not all(looks):
            raise Violation(f"doorbells count as lost after the looks {self.world.looks[-4:]}")
        type(self.controller).doorbells_lost(self.controller, queue_name)

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
            self.broker.reaping = True
            self.alive(self.reaper._loop)
            self.broker.reaping = False
            self.alive(self.ingest._loop)

    @property
    def quiet(self) -> bool:
        """The controller has heard of everything."""
        return not (self.mailbox.ready or self.mailbox.transit or self.ingest._unsure)
