"""Dispatch: the cost of a run that does nothing, beside a bare loop of `posix_spawn`.

Everything shares the machine's cores with the load; the floor starts the same program with as many in
flight, right before and right after, so the ratio holds although the milliseconds do not.
"""

from __future__ import annotations

import os
import shutil
import time
from itertools import pairwise

from benchmarks.instance import Instance, started
from benchmarks.timing import percentile

IN_FLIGHT = 2
SIZES = (200, 1000, 10_000)
FLOOR_RUNS = 1000


def floor(count: int) -> float:
    """Return seconds per `true` started by `posix_spawn`, `IN_FLIGHT` at a time."""
    program = shutil.which("true") or "/bin/true"
    begun = time.perf_counter()
    flying = 0
    for _ in range(count):
        if flying == IN_FLIGHT:
            os.wait()
            flying -= 1
        os.posix_spawn(program, ["true"], os.environ)
        flying += 1
    while flying:
        os.wait()
        flying -= 1
    return (time.perf_counter() - begun) / count


def run(sizes: tuple[int, ...] = SIZES) -> None:
    """Print ms per run and the gap between runs for each size of a search, all on one processor."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(processors)})
    print(f"dispatch, all on one processor: runs of `true` on {IN_FLIGHT} slots, everything stored")
    try:
        with started(IN_FLIGHT) as instance:
            for number, size in enumerate(sizes, 1):
                before = floor(FLOOR_RUNS)
                each, gaps = measure(instance, number, size)
                bare = (before + floor(FLOOR_RUNS)) / 2
                print(
                    f"  {size:6} runs: {each * 1e3:5.2f} ms a run; posix_spawn, {IN_FLIGHT} in flight: "
                    f"{bare * 1e3:.2f} ms; ratio {each / bare:.1f} (aim <= 7); end to next start: "
                    f"median {percentile(gaps, 0.5) * 1e3:.1f} ms, p99 {percentile(gaps, 0.99) * 1e3:.1f} ms"
                )
    finally:
        os.sched_setaffinity(0, processors)


def measure(instance: Instance, search: int, size: int) -> tuple[float, list[float]]:
    """Return seconds per run, and the seconds from each end to the next start on a free slot."""
    values = ",".join(str(value) for value in range(size))
    instance.augury("hyper", "grid", "--quiet", "--param", f"a={values}", "--", "true", ":a:")
    instance.augury("hyper", "wait", str(search))
    times = instance.runs(search)
    each = (max(ended for _, _, ended in times) - times[0][1]) / size
    ends = sorted(ended for _, _, ended in times)
    begins = [begun for _, begun, _ in times]
    # The k-th end frees the slot on which the (k + slots)-th run begins.
    gaps = [begun - ended for ended, begun in zip(ends, begins[IN_FLIGHT:], strict=False)]
    assert all(one <= other for one, other in pairwise(begins))
    return each, gaps
