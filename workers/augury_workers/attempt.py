"""One attempt's life in its slot: start, watch, end the tree, deliver the final report."""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from augury_workers import environment, platform, protocol
from augury_workers.claim import Granted
from augury_workers.confirm import confirm, is_late
from augury_workers.conversation import Conversation
from augury_workers.ending import Ending
from augury_workers.environment import CouldNotStartError
from augury_workers.gather import Gather
from augury_workers.link import Link, LinkError
from augury_workers.metrics import Patterns
from augury_workers.process import Reaper, Tree
from augury_workers.relay import Relay
from augury_workers.secret import SecretFile
from augury_workers.spool import Identity, Spool
from augury_workers.workspace import METRICS, OUTPUT, Workspace

if TYPE_CHECKING:
    from augury_workers.blobs import Door
    from augury_workers.prepare import Preparation
    from augury_workers.saving import Saving
    from augury_workers.secret import SecretFile
    from augury_workers.trees import Tree as TreeOfFiles

TICK_SECONDS = 0.1
"""How often a run is looked at. A shorter one costs no timer, no task and no second link."""

BACKGROUND_SECONDS = 2.0
"""How long processes that hold the output may write on after the main process has ended."""

TERM_SECONDS = 1.0
"""Between SIGTERM and SIGKILL where the order's grace does not apply."""

GIVE_UP_SECONDS = 3.0
"""How long an orphaned supervisor goes on trying to deliver."""

FENCE_GRACE_SECONDS = 30.0
LAST_CALL_SECONDS = 2.0
KILL_SECONDS = 1.0
"""Between the end of the grace and the time at which the server gives up: a tick, and the kill itself."""

Cause = Literal["", "timeout", "stopped", "fenced", "orphaned", "killed", "superseded"]

_RANK: dict[Cause, int] = {
    "": 0, "timeout": 1, "stopped": 2, "fenced": 3, "orphaned": 4, "killed": 5, "superseded": 6,
}  # fmt: skip

_DIED: dict[Cause, str] = {
    "fenced": "the server could not be reached for too long",
    "orphaned": "the worker process of its slot was gone",
}

_NOT_STARTED = "its order came too late and was not confirmed: nothing was started"

_ABORTS: dict[Cause, str] = {**_DIED, "killed": "it was killed", "superseded": "another attempt has its run"}
"""What ends the saving of files, with the reason told."""


@dataclass
class Station:
    """What all attempts of a slot share."""

    loop: asyncio.AbstractEventLoop
    link: Link
    make_link: Callable[[], Link]
    keys: protocol.Keys
    reaper: Reaper
    spool: Spool
    workspace: Workspace
    python_folder: str | None
    own_environment: Mapping[str, str]
    secret: SecretFile
    url: str | None
    """Of the server, for files; None on the local instance."""
    snapshots: str
    """Folder of the unpacked snapshots of this host."""
    gpu: str | None = None
    """The only card that runs see, as `CUDA_VISIBLE_DEVICES` names it; None: they are not pinned."""
    submitters: environment.SubmitterEnvironments = field(default_factory=environment.SubmitterEnvironments)

    def open_door(self, order: Mapping[str, Any], identity: Identity) -> Door:
        """Return the door to the store of files for an attempt; raises `blobs.RefusedError`."""
        # HTTP is slow to import, and few need it.
        from augury_workers import blobs

        origin = protocol.report_origin(identity.run, identity.token, identity.nonce)
        return blobs.open_door(order.get("blobs"), self.url, origin, next(iter(self.secret.keys().values())))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: a state of its run, or `died` or `superseded`."""

    state: str
    exit_code: int | None
    relay: Relay
    """May hold reports that the server has not committed yet."""


def fence_seconds(lost_after: float | None, grace: float) -> float | None:
    """Return after how long without `yours` an attempt ends itself; None: never.

    Five sixths of the time after which the server gives it up, and earlier where the last call, the grace
    and the kill would take longer than the rest.
    """
    if lost_after is None:
        return None
    end = fence_grace(lost_after, grace) + LAST_CALL_SECONDS + KILL_SECONDS
    return max(0.0, min(lost_after * 5 / 6, lost_after - end))


def fence_grace(lost_after: float, grace: float) -> float:
    """Return how long after its fence an attempt may take to end: at most a sixth of `lost_after`."""
    return min(grace, FENCE_GRACE_SECONDS, lost_after / 6)


class Attempt:
    """One execution of a run; `run` is called once."""

    def __init__(self, station: Station, granted: Granted, identity: Identity) -> None:
        self._station = station
        self._loop = station.loop
        self._order = order = granted.order
        self._claimed = granted.claimed
        self._identity = identity
        self._grace = float(order["grace"])
        self._lost_after: float | None = order.get("lost_after")
        self._fence = fence_seconds(self._lost_after, self._grace)
        self._relay = Relay(station.link, station.keys, identity, station.spool)
        # The server counts from the grant, which an order that waited in its box does not tell.
        self._relay.renewed = granted.asked if is_late(granted.claimed) else granted.claimed
        self._conversation = Conversation(
            self._relay,
            station.make_link,
            station.keys.box(identity.nonce),
            self._heed,
            min(protocol.BEAT_SECONDS, (self._fence or math.inf) / 3),
        )
        self._tree = Tree(station.reaper, identity.tag(str(order["instance"])))
        self._gather = Gather(self._loop, self._relay)
        self._gather.on_much = self._conversation.kick
        self._folder: str | None = None
        self._preparation: Preparation | None = None
        self._tree_of_files: TreeOfFiles | None = None
        self._cause: Cause = ""
        self._orphaned = False
        self._deadline = float("inf")
        self._started = 0.0
        self._oom_before: int | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._enforcer: asyncio.TimerHandle | None = None
        self._last_call: asyncio.Task[None] | None = None
        self._saving: Saving | None = None
        self._has_output = False

    async def run(self) -> Outcome:
        """Execute the order and report; returns when no process is left and the final report is delivered."""
        if is_late(self._claimed):
            early = await self._confirm()
            if early is not None:
                return early
        try:
            if self._order.get("prepare") is not None and not await self._prepare():
                return await self._ended_before()
            exited = self._start()
        except CouldNotStartError as error:
            await self._conversation.stop()
            self._report_exit(None, "could_not_start")
            return await self._finish(Ending(error.state, None, str(error)))
        self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)
        code = os.waitstatus_to_exitcode(await exited)
        cause, state, detail = self._judge(code)
        if self._cause not in _DIED:
            self._gather.collect(everything=True)
            self._report_exit(code, cause)
        await self._end_tree()
        ending = Ending(state, code if code >= 0 else None, detail)
        if self._may_save():
            await self._save(ending)
        self._stop_timers()
        await self._conversation.stop()
        if self._cause == "superseded" or self._cause in _DIED:
            return self._left()
        return await self._finish(ending)

    def orphan(self) -> None:
        """End the tree: the pool child is gone, nobody waits for the result."""
        self._orphaned = True
        self._loop.call_later(GIVE_UP_SECONDS, self._conversation.give_up)
        silent = platform.boottime() - self._relay.renewed
        # On a host that slept past its lease the run may be another worker's by now.
        fresh = self._fence is None or silent <= self._fence
        self._end("orphaned", TERM_SECONDS if fresh else 0.0)

    # --- before the start ----------------------------------------------------------------------------

    async def _confirm(self) -> Outcome | None:
        """Ask whether a late order still holds; an outcome where nothing is to be started."""
        answer = await confirm(self._relay, self._fence, lambda: self._orphaned)
        if answer == "superseded":
            return self._outcome("superseded", None)
        if answer != "yours" or self._orphaned:
            self._station.spool.mark_died(self._identity, _NOT_STARTED)
            return self._outcome("died", None)
        if self._relay.want:  # as on a queued run, both mean kill
            self._report_exit(None, "killed")
            return await self._finish(Ending("killed", None, ""))
        return None

    async def _prepare(self) -> bool:
        """Have the files of the run made ready; False when the attempt was ended meanwhile."""
        # HTTP and archives: most workers of a local instance never need them.
        from augury_workers.prepare import AbortedError, Preparation

        order, station = self._order, self._station
        preparation = Preparation(order, station.snapshots, lambda: station.open_door(order, self._identity))
        self._preparation = preparation
        self._conversation.start()
        self._tick_before()
        try:
            self._tree_of_files = await preparation.tree()
        except AbortedError:
            pass
        finally:
            self._preparation = None
            self._stop_timers()
        return not self._cause

    def _tick_before(self) -> None:
        self._ticker = self._loop.call_later(TICK_SECONDS, self._tick_before)
        self._conversation.tick()
        self._look_at_lease()

    async def _ended_before(self) -> Outcome:
        """End an attempt that has not started anything."""
        await self._conversation.stop()
        if self._cause == "superseded" or self._cause in _DIED:
            return self._left()
        self._report_exit(None, "killed")
        return await self._finish(Ending("killed", None, ""))

    # --- start ---------------------------------------------------------------------------------------

    def _start(self) -> asyncio.Future[int]:
        order, station = self._order, self._station
        try:
            folder = self._folder = station.workspace.make(str(self._identity))
        except OSError as error:
            raise CouldNotStartError(f"the worker cannot write its state: {error}") from error
        file = order["env"].get("file")
        base = station.own_environment if file is None else station.submitters.read(file)
        variables = environment.build(order, base, self._identity, folder, station.python_folder, station.gpu)
        cwd = str(order.get("cwd") or f"{folder}/{OUTPUT}")
        if self._tree_of_files is not None:
            # What the submitter's shell says of its own directory would lead out of the snapshot.
            cwd = variables["PWD"] = f"{self._tree_of_files.path}/{order['cwd']}".rstrip("/")
        environment.check(cwd, variables)
        words = environment.command(order, variables)
        patterns = _patterns(order)
        try:
            exited = self._tree.start(words, cwd, variables, self._gather.output.writer, order.get("umask"))
        except ValueError as error:
            raise CouldNotStartError(f"the command cannot be executed: {error}") from error
        except OSError as error:
            raise CouldNotStartError(environment.explain(error, words, cwd, variables)) from error
        self._gather.start(f"{folder}/{METRICS}", patterns)
        self._started = self._loop.time()
        self._relay.add({"k": "state", "state": "running", "time": time.time(), "pid": self._tree.pid})
        return exited

    # --- while it runs -------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)
        if self._oom_before is None:
            self._conversation.start()
            self._oom_before = platform.oom_kills()
        self._gather.collect()
        self._conversation.tick()
        timeout = self._order.get("timeout")
        if timeout is not None and self._loop.time() - self._started >= timeout:
            self._end("timeout", self._grace)
        self._look_at_lease()

    def _look_at_lease(self) -> None:
        if self._fence is None or platform.boottime() - self._relay.renewed <= self._fence:
            return
        if self._last_call is None or self._last_call.done():
            self._last_call = self._loop.create_task(self._call_before_fence(self._fence))

    def _heed(self) -> None:
        """Do what the server's last answer wants."""
        if self._relay.verdict == "superseded":
            self._end("superseded", 0.0)
        elif self._relay.want == "kill":
            self._end("killed", 0.0)
        elif self._relay.want == "stop":
            self._end("stopped", self._grace)

    async def _call_before_fence(self, fence: float) -> None:
        """The lease looks expired; a host that slept may find it valid with one more call."""
        try:
            async with asyncio.timeout(LAST_CALL_SECONDS):
                await self._relay.say(LAST_CALL_SECONDS)
            self._heed()
        except (LinkError, TimeoutError):
            pass
        silent = platform.boottime() - self._relay.renewed
        if silent > fence and self._lost_after is not None:
            # One that slept past all of it may have been replaced by now.
            left = max(0.0, self._lost_after - KILL_SECONDS - silent)
            self._end("fenced", min(fence_grace(self._lost_after, self._grace), left))

    # --- the end -------------------------------------------------------------------------------------

    def _end(self, cause: Cause, grace: float) -> None:
        """End the tree for a cause. A stronger one replaces it, the time that is left only shrinks.

        A main process that has already ended keeps its own result, unless the attempt is not ours any more.
        """
        if self._preparation is not None:
            self._cause = max(cause, self._cause, key=lambda one: _RANK[one])
            self._preparation.abort()
            return
        self._station.reaper.reap()
        if self._saving is not None and cause in _ABORTS:
            self._saving.abort(_ABORTS[cause])
        sooner = self._loop.time() + grace < self._deadline
        if sooner:
            self._deadline = self._loop.time() + grace
        if cause == "superseded" or (self._tree.alive and _RANK[cause] > _RANK[self._cause]):
            first, self._cause = not self._cause, cause
            if first and grace > 0:
                self._tree.terminate()
        if sooner and self._tree.alive:
            if self._enforcer is not None:
                self._enforcer.cancel()
            self._enforcer = self._loop.call_at(self._deadline, self._enforce)

    def _enforce(self) -> None:
        if self._tree.alive:
            self._tree.kill()
            self._enforcer = self._loop.call_later(0.05, self._enforce)

    def _judge(self, code: int) -> tuple[str, str, str]:
        """Return cause, final state and a sentence for the way the main process ended."""
        if self._cause == "timeout":
            return "timeout", "stopped", f"it ran longer than its limit of {self._order['timeout']:g} s"
        if self._cause in ("stopped", "killed"):
            return self._cause, self._cause, ""
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and self._oom_grew():
            return "oom", "failed", "the kernel killed it because memory ran out"
        if code < 0:
            return "signal", "failed", f"it was ended by {_signal_name(-code)}"
        return "exit", "complete" if code == 0 else "failed", ""

    def _oom_grew(self) -> bool:
        return self._oom_before is not None and platform.oom_kills() > self._oom_before

    def _report_exit(self, code: int | None, cause: str) -> None:
        """Report the exit; `code` is negative for a signal, None when nothing was started."""
        number = -code if code is not None and code < 0 else None
        body = {"k": "exit", "code": None if number else code, "signal": number, "cause": cause}
        self._relay.add({**body, "time": time.time()})

    async def _end_tree(self) -> None:
        """Wait for what the main process left behind as long as it may stay, then kill it."""
        tree, output = self._tree, self._gather.output
        if not tree.gone():
            if not self._cause:
                self._deadline = min(self._deadline, self._loop.time() + BACKGROUND_SECONDS)
            while not await self._gone_soon() and self._loop.time() < self._deadline:
                if not self._cause and output.ended.done():
                    break
            if not self._cause and not tree.gone():
                self._deadline = self._loop.time() + TERM_SECONDS
                tree.terminate()
                while not await self._gone_soon() and self._loop.time() < self._deadline:
                    pass
            await tree.kill_all(self._complain)
        output.drain()
        output.close()

    async def _gone_soon(self) -> bool:
        left = self._deadline - self._loop.time()
        return await self._tree.wait_gone(min(max(left, 0.0), TICK_SECONDS))

    def _complain(self, pids: list[int]) -> None:
        text = f"augury worker: processes {pids} of run {self._identity.run} cannot be killed"
        print(f"{text}; this slot takes no other run before they are gone", file=sys.stderr, flush=True)

    def _stop_timers(self) -> None:
        for timer in (self._ticker, self._enforcer):
            if timer is not None:
                timer.cancel()

    # --- what it has written ----------------------------------------------------------------------------

    def _may_save(self) -> bool:
        """Tell whether there may be files to bring back; a kill drops them."""
        if self._folder is None:
            return False
        self._has_output = self._station.workspace.has_output(self._folder)
        dropped = self._cause in ("killed", "superseded") or self._cause in _DIED
        return self._has_output and bool(self._order.get("outputs")) and not dropped

    async def _save(self, ending: Ending) -> None:
        """Bring the files back, while the talk with the server goes on; `ending` says what came of it."""
        # Not at the top: most runs have no files, and every start of a supervisor would pay for zip and HTTP.
        from augury_workers import saving

        station = self._station
        patience = saving.PATIENCE_SECONDS if self._fence is None else self._fence
        door = partial(saving.open_door, self._order, self._identity, station.secret, station.url)
        self._saving = saving.Saving(f"{self._folder}/{OUTPUT}", self._identity, door, patience)
        self._heed()
        if await self._saving.find():
            self._relay.add(self._saving.report(time.time()))
            lost = await self._saving.run()
            if self._relay.want == "kill":
                ending.state = ending.cause = "killed"
            elif lost:
                ending.cause = "outputs_lost"
                ending.add(lost)
        ending.add(self._saving.left_out)

    # --- the final report -------------------------------------------------------------------------------

    async def _finish(self, ending: Ending) -> Outcome:
        gather = self._gather
        await gather.collect_rest(self._conversation.room)
        body = {"k": "final", "state": ending.state, "log_bytes": gather.log_bytes, "dropped": gather.dropped}
        if ending.cause:
            body["cause"] = ending.cause
        self._relay.add({**body, "detail": ending.detail})
        await self._conversation.deliver()
        if self._relay.verdict == "superseded":
            return self._outcome("superseded", None)
        return self._outcome(ending.state, ending.code)

    def _left(self) -> Outcome:
        """Return the outcome of an attempt that is not ours any more, or that nobody waits for."""
        if self._cause == "superseded":
            return self._outcome("superseded", None)
        self._station.spool.mark_died(self._identity, _DIED[self._cause])
        return self._outcome("died", None)

    def _outcome(self, state: str, code: int | None) -> Outcome:
        self._gather.close()
        self._relay.write_spool()
        if self._tree_of_files is not None:
            self._tree_of_files.release()
        if self._folder is not None:
            self._station.workspace.give_back(self._folder, has_output=self._has_output)
        return Outcome(state, code, self._relay)


def _patterns(order: Mapping[str, Any]) -> Patterns | None:
    try:
        return Patterns(order["metric_regex"]) if order.get("metric_regex") else None
    except re.error as error:
        raise CouldNotStartError(f"the regular expression of a metric is refused: {error}") from error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
