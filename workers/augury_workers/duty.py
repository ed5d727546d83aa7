"""Whether a worker takes runs: not while it is drained or refused, nor when it has been idle for too long.

Decides only; what it decides is done by `Hands`, which the Celery side of the worker has.
"""

from __future__ import annotations

import mmap
from typing import Protocol

from augury_workers import protocol
from augury_workers.hello import Said

LOOK_SECONDS = 1.0
"""How often a worker looks at what the server says of it."""

SETTLE_SECONDS = 2.5
"""After the end of consuming: a doorbell on its way (for a second at most) is here or back in its queue."""

WRONG_SETTING = 2
"""Exit code of a worker whose key is not the server's."""

_REASONS = ("", "key", "version")
_LEAVING = {
    "key": "its key is not the server's: copy the server's secret file to where AUGURY_SECRET_FILE points, "
    "mode 0600, and start it again",
    "version": f"the server speaks another version of the wire than {protocol.VERSION}: install the server's "
    "version of augury here and start it again",
    "idle": "no run for as long as --idle-timeout says",
}
_CODES = {"key": WRONG_SETTING, "version": 1, "idle": 0}


class Denials:
    """One byte that the pool children, forked later, share with the worker's main process."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def tell(self, reason: str) -> None:
        """Say, in a pool child, that a claim was refused because of the `key` or the `version`."""
        self._shared[0] = _REASONS.index(reason)

    @property
    def reason(self) -> str:
        """What was told last, "" when nothing was."""
        return _REASONS[self._shared[0]]


class Hands(Protocol):
    """What a duty does to its worker."""

    def busy(self) -> bool:
        """Tell whether a slot runs something or a doorbell is in hand."""

    def taken(self) -> int:
        """Return how many doorbells were ever taken."""

    def consume(self) -> None:
        """Take doorbells (again)."""

    def cancel(self) -> None:
        """Take no more doorbells; what runs goes on."""

    def end(self, code: int) -> None:
        """End this worker, which is not busy, with an exit code."""

    def say(self, text: str) -> None:
        """Tell the worker's log."""


class Duty:
    """The duty of one worker; `now` is always in monotonic seconds."""

    def __init__(self, hands: Hands, denials: Denials, idle_seconds: float | None, now: float) -> None:
        self._hands = hands
        self._denials = denials
        self._idle_seconds = idle_seconds
        self._drained = False
        self._leaving = ""
        self._consuming = True
        self._changed = now
        self._idle_since = now
        self._taken = 0

    def look(self, said: Said | None, now: float) -> None:
        """Take in what the server says (None: it cannot be asked) and do what follows."""
        if said is not None:
            self._drained = said.drained
        self._note_work(now)
        if not self._leaving:
            self._leaving = (said.refused if said else "") or self._denials.reason or self._idle(now)
            if self._leaving not in _LEAVING:
                self._leaving = ""
            elif self._leaving:
                rest = " ends when its runs have ended" if self._hands.busy() else " ends"
                self._hands.say(f"this worker takes no more runs and{rest}: {_LEAVING[self._leaving]}")
        self._set(not self._drained and not self._leaving, now)
        if self._leaving and not self._hands.busy() and now - self._changed >= SETTLE_SECONDS:
            self._hands.end(_CODES[self._leaving])

    def _note_work(self, now: float) -> None:
        taken = self._hands.taken()
        if self._hands.busy() or taken != self._taken:
            self._idle_since = now
        self._taken = taken

    def _idle(self, now: float) -> str:
        over = self._idle_seconds is not None and now - self._idle_since >= self._idle_seconds
        return "idle" if over else ""

    def _set(self, consuming: bool, now: float) -> None:
        if consuming == self._consuming:
            return
        self._consuming, self._changed = consuming, now
        if consuming:
            self._hands.say("undrained: this worker takes runs again")
            self._hands.consume()
        else:
            if not self._leaving:
                self._hands.say("drained: this worker finishes what it runs and takes nothing new")
            self._hands.cancel()
