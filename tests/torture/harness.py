"""One torture: start, submit, break things until enough is broken, wait for the end, check."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from augury_workers import protocol
from tests.torture import checker, faults, searches
from tests.torture.stand import Build, Stand

_SAMPLE_SECONDS = 0.1
_TEND_SECONDS = 0.05
_SAY_SECONDS = 15.0


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    runs: int = 300
    faults: int = 200
    seed: int = 1
    minutes: float = 20.0
    build: Build = "product"
    lost_after: float = 8.0
    workers: int = 3
    slots: int = 2
    gap: float = 2.0
    """Seconds between two faults, on average."""


@dataclass
class Torture:
    """What came of it."""

    plan: Plan
    findings: checker.Findings = field(default_factory=checker.Findings)
    faults: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False


class _Watch:
    """Samples the store: how many runs of each search are held at once."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.most: Counter[int] = Counter()
        self.samples = 0

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _loop(self) -> None:
        reader = self._stand.reader()
        while not self._stopping.wait(_SAMPLE_SECONDS):
            for search, held in checker.held_now(reader).items():
                self.most[search] = max(self.most[search], held)
            self.samples += 1
        reader.close()


def torture(
    folder: Path, database_url: str, plan: Plan, say: Callable[[str], None] = lambda text: None
) -> Torture:
    """Torture searches on a stand of their own in `folder`; nothing of it is left running."""
    result = Torture(plan)
    dice = Random(plan.seed)
    stand = Stand(folder, database_url, plan.build, Random(dice.random()), plan.workers, plan.slots)
    try:
        stand.start()
        submitted = searches.submit(stand, plan.runs, plan.seed, plan.lost_after)
        begun = time.monotonic()
        with _Watch(stand) as watch:
            _break_things(stand, result, dice, begun, say)
            _settle(stand, result, begun, say)
        result.seconds = time.monotonic() - begun
        result.findings.numbers["samples of the store"] = watch.samples
        if result.finished:
            _check(stand, result, submitted, watch)
        else:
            result.findings.object_to("I1", f"not all runs ended within {plan.minutes:g} minutes")
    finally:
        stand.end()
    if (folder / "evil").exists():
        result.findings.object_to("I1", "a forged order was executed")
    return result


def _break_things(
    stand: Stand, result: Torture, dice: Random, begun: float, say: Callable[[str], None]
) -> None:
    plan, reader = result.plan, stand.reader()
    due, told = time.monotonic() + 1.0, begun
    cards = faults.deck(plan.faults, dice)
    while cards and time.monotonic() - begun < 60 * plan.minutes:
        stand.tend()
        now = time.monotonic()
        if now >= due:
            kind = cards.pop()
            hit = faults.inject(kind, stand, dice)
            if hit is None:  # later
                cards.insert(dice.randrange(len(cards) + 1), kind)
            else:
                due = now + dice.expovariate(1 / plan.gap)
                result.faults[kind] += 1
                result.log.append(f"{now - begun:8.3f} {now:.3f} {kind}: {hit}")
        if now - told > _SAY_SECONDS:
            told = now
            running, final = checker.open_now(reader)
            say(f"{now - begun:4.0f} s: {result.faults.total()} faults, {final} of {plan.runs} runs ended")
            if not running:
                break
        time.sleep(_TEND_SECONDS)
    reader.close()


def _settle(stand: Stand, result: Torture, begun: float, say: Callable[[str], None]) -> None:
    """Break nothing any more, and wait until all searches have ended."""
    stand.calm()
    reader = stand.reader()
    told = time.monotonic()
    while time.monotonic() - begun < 60 * result.plan.minutes:
        stand.tend()
        running, final = checker.open_now(reader)
        if not running:
            result.finished = True
            break
        if time.monotonic() - told > _SAY_SECONDS:
            told = time.monotonic()
            say(f"{told - begun:4.0f} s: {final} of {result.plan.runs} runs ended")
        time.sleep(0.2)
    reader.close()


def _check(stand: Stand, result: Torture, submitted: list[searches.Submitted], watch: _Watch) -> None:
    patience = time.monotonic() + 5.0
    while stand.processes(b"AUGURY_TAG=") and time.monotonic() < patience:
        time.sleep(0.2)
    numbers = result.findings.numbers
    reader = stand.reader()
    with stand.client() as client:
        result.findings = checker.check(submitted, reader, client, stand.traces, watch.most, stand.replay)
    reader.close()
    result.findings.numbers |= numbers
    with stand.redis() as connection:
        left = stand.processes(b"AUGURY_TAG=")
        checker.check_left(result.findings, left, protocol.Keys(protocol.DEFAULT_INSTANCE).prefix, connection)
    result.findings.numbers["starts of parts"] = sum(part.starts for part in stand.parts.values())


def progress(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)
