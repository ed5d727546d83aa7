"""How many points a second a training can report: `python benchmarks/sdk.py [CALLS]`.

Prints one JSON object: calls of `send_metric` per second of wall clock and of processor time in a long loop,
bare writes of lines of that length per second (the floor), and the milliseconds that importing the SDK and
reporting one point from a shell take.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "workers"
CALLS = 1_000_000


def measure(calls: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metrics")
        os.environ["AUGURY_METRICS"] = str(path)
        sys.path.insert(0, str(SOURCE))
        start = time.perf_counter()
        from augury_sdk import send_metric

        imported = time.perf_counter() - start
        wall, processor = time.perf_counter(), time.process_time()
        for index in range(calls):
            send_metric("keras/val_acc", 1 / (index + 1), index)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        with path.open("rb") as file:
            assert sum(1 for _ in file) == calls
        return {
            "python": sys.version.split()[0],
            "calls": calls,
            "calls_per_second": round(calls / wall),
            "calls_per_processor_second": round(calls / processor),
            "bare_writes_per_second": round(bare_writes(Path(folder, "bare"), calls)),
            "import_ms": round(1000 * imported, 1),
            "command_ms": round(1000 * command(), 1),
        }


def bare_writes(path: Path, calls: int) -> float:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    data = b"x" * 85 + b"\n"
    start = time.perf_counter()
    for _ in range(calls):
        os.write(descriptor, data)
    elapsed = time.perf_counter() - start
    os.close(descriptor)
    return calls / elapsed


def command() -> float:
    """Seconds of `python -m augury_sdk NAME VALUE`, the best of five."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "augury_sdk", "loss", "0.5"], cwd=SOURCE, check=True)
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS)))
