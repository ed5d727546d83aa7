# ruff: noqa: E501 - a table of texts
"""Copies of modules with one bug in each: a simulator that does not find them proves nothing."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from unittest import mock


@dataclass(frozen=True)
class Mutant:
    """A bug: `old` is replaced by `new` in a copy of a module; the module itself is not touched."""

    name: str
    module: str
    old: str
    new: str
    theme: tuple[str, ...] | None = None
    """The faults under which it shows soonest."""

    def build(self) -> ModuleType:
        """Return the copy with the bug in it."""
        original = importlib.import_module(self.module)
        source = inspect.getsource(original)
        assert source.count(self.old) == 1, f"{self.name}: {self.old!r} is not once in {self.module}"
        copy = ModuleType(self.module)
        exec(compile(source.replace(self.old, self.new), f"<{self.name}>", "exec"), copy.__dict__)
        return copy

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let everything that uses the module use the copy."""
        original, copy = importlib.import_module(self.module), self.build()
        own = {
            name: thing
            for name, thing in vars(original).items()
            if getattr(thing, "__module__", "") == self.module
        }
        users = [module for name, module in list(sys.modules.items()) if name.startswith("augury.")]
        with ExitStack() as patches:
            for user in users:
                for name, thing in own.items():
                    if vars(user).get(name) is thing:
                        patches.enter_context(mock.patch.object(user, name, vars(copy)[name]))
            yield


_STEP = "augury.controller.step"

OF_STEP = [
    Mutant("the window is unbounded", _STEP, "while queue.rung < queue.window:", "while True:"),
    Mutant("queued runs do not count against the cap", _STEP, "search.in_flight >= search.limit", "len(search.held) >= search.limit"),
    Mutant("the cap is one too high", _STEP, "search.open_runs < search.limit", "search.open_runs <= search.limit"),
    Mutant("a suggestion waits for the whole batch", _STEP, "search.open_runs < search.limit", "search.open_runs == 0"),
    Mutant("a requeued run is forgotten", _STEP, "    # In front: it has waited longest.\n    search.waiting.appendleft(event.run_id)\n", ""),
    Mutant("a late requeue counts", _STEP, "search is None or search.tokens.get(event.run_id, 0) >= event.token", "search is None"),
    Mutant("a claim of an older attempt counts", _STEP, " or search.tokens[event.run_id] != event.token", ""),
    Mutant("a claim does not free its doorbell", _STEP, "    return [], {search.queue}\n\n\n@_apply.register\ndef _(event: RunEnded", "    return [], set()\n\n\n@_apply.register\ndef _(event: RunEnded"),
    Mutant("lost doorbells are not rung again", _STEP, "        search.waiting.appendleft(run_id)\n        touched", "        search.rung.add(run_id)\n        touched"),
    Mutant("a search ends before all its runs are final", _STEP, "search.open_runs == 0 and not", "search.in_flight == 0 and not"),
    Mutant("the last run is not asked for", _STEP, "search.created >= search.num_runs or", "search.created >= search.num_runs - 1 or"),
    Mutant("exhaustion is ignored", _STEP, "        search.exhausted = True\n", ""),
    Mutant("a stopped search rings on", _STEP, "(search.paused or search.want or capped)", "(search.paused or capped)"),
    Mutant("a paused search rings on", _STEP, "(search.paused or search.want or capped)", "(search.want or capped)"),
    Mutant("a stopped search is asked for more", _STEP, "(search.asking or complete or search.want or search.paused)", "(search.asking or complete or search.paused)"),
    Mutant("a missing metric is not noticed", _STEP, "search.without_metric >= RUNS_WITHOUT_METRIC", "search.without_metric > RUNS_WITHOUT_METRIC"),
    Mutant("resuming does not forgive", _STEP, "        search.without_metric = 0\n", ""),
    Mutant("a killed search counts as stopped", _STEP, '"killed" if search.want == "kill" else "stopped"', '"stopped"'),
    Mutant("the oldest search is served first", _STEP, "(one.in_flight, one.served)", "one.id"),
]  # fmt: skip

_RUNS, _LOOP, _RESTORING = "augury.store.runs", "augury.controller.loop", "augury.controller.restoring"
_INTAKE, _INGEST, _REAPER = "augury.ingest.intake", "augury.ingest.loop", "augury.reaper"

OF_SERVER = [
    Mutant("a claim needs no token", _RUNS, '        runs.c.token == bindparam("of_token"),\n        runs.c.state == "queued",', '        bindparam("of_token") > 0,\n        runs.c.state == "queued",', ("bell doubled", "bell late", "dies",)),
    Mutant("a run is granted twice", _RUNS, '        runs.c.state == "queued",\n        runs.c.want == "",', '        runs.c.state.in_(OPEN_STATES),\n        runs.c.want == "",'),
    Mutant("a lost run keeps its token", _RUNS, '"token": run.token + 1, "nonce": "", "lost"', '"token": run.token, "nonce": "", "lost"'),
    Mutant("a run is lost for ever", _RUNS, "current.lost >= (MAX_LOST_ATTEMPTS", "current.lost >= (99", ("dies",)),
    Mutant("a late attempt is heard", _INTAKE, "(attempt.run.token, attempt.run.nonce) != (token, nonce)", "False"),
    Mutant("reports count in any order", _INTAKE, "if report.s != attempt.ack + 1:", "if report.s <= attempt.ack:", ("reports lost",)),
    Mutant("a run that had ended is queued again", _INTAKE, "if attempt.exit:", "if False:", ("dies at its end",)),
    Mutant("a repeated claim is denied", _INTAKE, "            self._grant(attempt.run, attempt.ack, claim)\n", '            self._outcome.denied.append((claim.nonce, "superseded"))\n'),
    Mutant("the end of an attempt is not acknowledged again", _INTAKE, "            self._late(report)\n", "", ("redis",)),
    Mutant("a dead attempt is not answered", _INTAKE, "            self._outcome.left.append(run)\n", "            pass\n"),
    Mutant("what a failed commit did is not read again", _INGEST, "            self._controller.missed()\n", "", ("commit answer",)),
    Mutant("orders have no lease", _INGEST, "self._environments, self._lost_after, self._blobs", "self._environments, None, self._blobs", ("slow", "worker cut off",)),
    Mutant("requeued runs are not told", _INGEST, "outcome.ended, outcome.requeued)", "outcome.ended, ())"),
    Mutant("lost reports are not asked for", _REAPER, "        return same\n", "        return False\n", ("reports lost",)),
    Mutant("missing hashes are not written", _REAPER, "return beat is not None and (beat", "return beat is None or (beat"),
    Mutant("lost doorbells are not found", _REAPER, "self._controller.doorbells_lost(queue)", "pass"),
    Mutant("silent attempts are never given up", _REAPER, "if silent <= lost_after or not", "if silent >= 0 or not", ("worker dies",)),
    Mutant("a failed command is not read again", _LOOP, "                future.set_exception(error)\n                raise\n", "                future.set_exception(error)\n", ("commit", "commit answer",)),
    Mutant("held runs are forgotten at a restart", _RESTORING, "progress.held.add(run_id)", "progress.rung.add(run_id)"),
    Mutant("the memo is forgotten at a restart", _RESTORING, "    learning.memo = record.memo\n", ""),
    Mutant("pending runs are forgotten at a restart", _RESTORING, "            learning.pending[run.id] = learning.sampling.values_of(run.assignment)\n", "            pass\n"),
    Mutant("a resumed search is paused again by a restart", _RESTORING, " and (run.landed or 0) > since", "", ("silent",)),
    Mutant("a failed run without its metric is forgotten at a restart", _RESTORING, "if run.state in LEARNS_FROM]", 'if run.state == "complete"]'),
    Mutant("the memo is not kept", _LOOP, "        learning.memo = memo\n", ""),
    Mutant("a killed run stays pending", _LOOP, "                learning.pending.pop(run_id, None)\n", "                pass\n"),
    Mutant("a result is not told to the sampler", _LOOP, "            if run.state in LEARNS_FROM:\n                learning.observations", "            if run.state == 'complete':\n                learning.observations"),
    Mutant("exhaustion is not told", _LOOP, "return step(self._state, Exhausted(search_id))", "return []"),
    Mutant("a wish does not reach held runs", _LOOP, "held = runs.raise_want(connection, [run.id for run in members if run.id not in set(killed)], want)", "held = []", ("slow",)),
]  # fmt: skip
