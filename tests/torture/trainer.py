"""A training that leaves traces: `trainer.py TRACES POINTS STYLE X`.

Every 50 ms each of its processes appends `run attempt stamp pid` to a file of its own in the folder TRACES,
which Augury knows nothing of (stamps are monotonic seconds, the same clock for all processes of a host).
Point i of metric `value` is X + i; of metric `attempt` it is the number of the attempt.

Styles: `plain`; `deaf` ignores SIGTERM; `daemon` also leaves a child behind, double-forked, in a session of
its own and deaf, that goes on for a minute unless it is killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

PERIOD_SECONDS = 0.05
DAEMON_STEPS = 1200


def main() -> None:
    """Run for POINTS periods."""
    folder, points, style, x = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    # Files, before anything else: what is alive is on record.
    trace = _Trace(folder)
    if style in ("deaf", "daemon"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if style == "daemon" and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _daemon(folder)
        os._exit(0)
    attempt = int(os.environ["AUGURY_ATTEMPT"])
    with open(os.environ["AUGURY_METRICS"], "a", buffering=1) as metrics:  # noqa: PTH123
        for index in range(points):
            trace.stamp()
            lines = [{"name": "value", "value": x + index, "index": index}]
            lines.append({"name": "attempt", "value": attempt, "index": index})
            metrics.write("".join(json.dumps(line) + "\n" for line in lines))
            time.sleep(PERIOD_SECONDS)
        trace.stamp()


def _daemon(folder: str) -> None:
    trace = _Trace(folder)
    for _ in range(DAEMON_STEPS):
        trace.stamp()
        time.sleep(PERIOD_SECONDS)
    os._exit(0)


class _Trace:
    """The file of this process."""

    def __init__(self, folder: str) -> None:
        # run/token/nonce of the attempt; its nonce tells attempts apart even if two had one number.
        tag = os.environ["AUGURY_TAG"].split("/", 1)[1]
        self._pid = os.getpid()
        self._words = f"{os.environ['AUGURY_RUN_ID']} {os.environ['AUGURY_ATTEMPT']}"
        name = f"{folder}/{tag.replace('/', '-')}.{self._pid}"
        self._file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.stamp()

    def stamp(self) -> None:
        """Append a line."""
        os.write(self._file, f"{self._words} {time.monotonic():.4f} {self._pid}\n".encode())


if __name__ == "__main__":
    main()
