"""Submitting: a warm submit beside the imports it cannot do without, and a grid of 10,000 runs."""

from __future__ import annotations

import itertools
import sys
import time

from benchmarks.instance import started
from benchmarks.timing import seconds, side_by_side

ROUNDS = 11


def run() -> None:
    """Print the figures of submits."""
    with started(1) as instance:
        numbers = itertools.count()

        def submit() -> float:
            words = ["augury", "hyper", "grid", "--param", f"a={next(numbers)}", "--", "true :a:"]
            return seconds(words, instance.environment, str(instance.home))

        ours, floor = side_by_side(
            submit, lambda: seconds([sys.executable, "-c", "import typer, httpx"]), ROUNDS
        )
        bar = 1.5 * floor + 0.1
        print(f"warm submit: {ours * 1e3:.0f} ms; python -c 'import typer, httpx' {floor * 1e3:.0f} ms; "
              f"share of 1.5 x that + 100 ms: {ours / bar:.2f} (<= 1)")  # fmt: skip
        instance.augury("hyper", "wait", str(ROUNDS))
        waits = []
        for search in range(2, ROUNDS + 1):
            queued, begun, _ = instance.runs(search)[0]
            waits.append(begun - queued)
        print(f"submit to first run, warm: median {sorted(waits)[len(waits) // 2] * 1e3:.0f} ms (<= 300)")
        values = ",".join(str(value) for value in range(10_000))
        begun = time.perf_counter()
        search = instance.augury(
            "hyper", "grid", "--quiet", "--param", f"a={values}", "--", "true :a:"
        ).split()
        print(f"a grid of 10,000 runs: {time.perf_counter() - begun:.2f} s (<= 2)")
        begun = time.perf_counter()
        instance.augury("hyper", "describe", str(ROUNDS + 1), "--json")
        print(f"describe --json of it, page by page: {time.perf_counter() - begun:.2f} s")
        instance.augury("hyper", "kill", str(ROUNDS + 1))
        assert search
