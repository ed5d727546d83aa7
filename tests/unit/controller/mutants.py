"""Copies of modules with one bug in each: a simulator that does not find them proves nothing."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Mutant:
    """A bug: `old` is replaced by `new` in a copy of a module; the module itself is not touched."""

    name: str
    module: str
    old: str
    new: str

    def build(self) -> ModuleType:
        """Return the copy with the bug in it."""
        original = importlib.import_module(self.module)
        source = inspect.getsource(original)
        assert source.count(self.old) == 1, f"{self.name}: {self.old!r} is not once in {self.module}"
        copy = ModuleType(self.module)
        exec(compile(source.replace(self.old, self.new), f"<{self.name}>", "exec"), copy.__dict__)
        return copy


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
