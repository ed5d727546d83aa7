"""The control build: server, workers and supervisors with their protections taken out.

The checker must find fault with it, or it could not find fault with anything. Taken out are

- the claim: the server grants a run to everybody who asks for it, whoever holds it;
- the fence: an attempt goes on whatever the server answers, and however long it has answered nothing;
- the supervision: no sweep at a worker's start, no lifeline, no lock of a slot, no burial by the pool child.

`python -m tests.torture.control server|worker|supervisor WORDS...`; nothing here is a switch of the product.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

SUPERVISOR = "augury_workers.supervisor"


def _server(words: list[str]) -> int:
    from augury.ingest.intake import Intake
    from augury.ingest.messages import Claim
    from augury.run import OPEN_STATES
    from augury.server.__main__ import main
    from augury.store import runs

    claim = Intake._claim

    def grant_anyway(self: Intake, asked: Claim) -> None:
        claim(self, asked)
        denied = self._outcome.denied
        run = runs.get(self._connection, asked.run_id)
        if denied[-1:] == [(asked.nonce, "superseded")] and run is not None and run.state in OPEN_STATES:
            denied.pop()
            self._grant(dataclasses.replace(run, token=asked.token, nonce=asked.nonce), 0, asked)

    with mock.patch.object(Intake, "_claim", grant_anyway):
        return main(words)


def _patch_supervision() -> None:
    from augury_workers import handover, platform, slot

    def unlocked(path: str, flags: int) -> int:
        return os.open(path, flags, 0o600)

    def start(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
        place = command.index(SUPERVISOR)
        words = [*command[:place], "tests.torture.control", "supervisor", *command[place + 1 :]]
        return subprocess.Popen(words, **how)

    def bury(self: handover.SlotKeeper) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.close()
            self._process = None

    slot._open_locked = unlocked
    platform.kill_tagged = lambda tags: None  # type: ignore[assignment]
    handover.SlotKeeper._bury = bury  # type: ignore[method-assign]
    handover.subprocess = SimpleNamespace(Popen=start, PIPE=subprocess.PIPE)  # type: ignore[attr-defined]


def _worker(words: list[str]) -> int:
    from augury_workers.main import main

    _patch_supervision()
    return main(words)


def _supervisor(words: list[str]) -> int:
    from augury_workers import attempt, supervisor

    _patch_supervision()

    def heed(self: attempt.Attempt) -> None:
        if self._relay.verdict == "superseded":
            self._relay.verdict = "gone"

    attempt.fence_seconds = lambda lost_after, grace: None
    attempt.Attempt._heed = heed  # type: ignore[method-assign]
    attempt.Attempt.orphan = lambda self: None  # type: ignore[method-assign]
    sys.argv[1:] = words
    supervisor.main()
    return 0


if __name__ == "__main__":
    sys.exit({"server": _server, "worker": _worker, "supervisor": _supervisor}[sys.argv[1]](sys.argv[2:]))
