"""Workers as users see them: listed, drained, undrained, and what each queue has to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from augury.dispatch.broker import BROKER_FAILURES, Broker
from augury.errors import RefusedError
from augury.ingest.admission import Admission
from augury.ingest.roster import Presence, Roster
from augury.run import HELD_STATES
from augury.server.views import iso
from augury.store import drains, queues
from augury.store.database import Store
from augury.store.drains import Drain
from augury_workers import protocol

_REFUSALS = {
    "key": "its AUGURY_SECRET_FILE is not this server's",
    "version": "it speaks another version of the wire: install the server's version of augury there",
}
_log = logging.getLogger(__name__)


class Workers:
    """Joins the hellos (roster), the store, and what is told to workers through the broker."""

    def __init__(self, store: Store, broker: Broker, roster: Roster, admission: Admission) -> None:
        self._store = store
        self._broker = broker
        self._roster = roster
        self._admission = admission
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read from the store who is drained: no claim is answered before that."""
        with self._lock, self._store.read() as connection:
            drained = frozenset(drains.drained(connection))
            self._admission.drained = drained
            self._roster.drain(drained)

    def tell(self) -> None:
        """Read who is drained, and tell the workers by what they look at each second.

        Raises:
            BROKER_FAILURES: Redis does not answer.
        """
        self.load()
        refused = {
            presence.hello.worker: protocol.refusal(presence.refused, presence.hello.mark.mac)
            for presence in self._roster.everybody()
            if presence.refused is not None and not presence.gone
        }
        self._broker.tell_workers(self._admission.drained, refused)

    # --- looking ---

    def listing(self) -> list[dict[str, Any]]:
        """Return every worker that is there, was there in the last day, holds runs, or is drained."""
        with self._store.read() as connection:
            drained, held = drains.drained(connection), queues.held_ids(connection)
        now = time.monotonic()
        present = {presence.hello.worker: presence for presence in self._roster.everybody()}
        return [
            _document(name, present.get(name), drained.get(name), held.get(name, []), now)
            for name in sorted({*present, *drained, *held})
        ]

    def queues(self) -> list[dict[str, Any]]:
        """Return what waits and runs on each queue, and which slots there are for it."""
        with self._store.read() as connection:
            types, counts = queues.types_by_queue(connection), queues.open_by_queue(connection)
            held = queues.held_ids(connection)
        slots: dict[str, int] = {}
        busy: dict[str, int] = {}
        for presence in self._roster.workers():
            hello = presence.hello
            if hello.worker in self._admission.drained:
                continue
            for queue in hello.queues:
                slots[queue] = slots.get(queue, 0) + hello.slots
                busy[queue] = busy.get(queue, 0) + min(len(held.get(hello.worker, ())), hello.slots)
        return [
            {
                "queue": queue,
                "types": types.get(queue, []),
                "queued": counts.get(queue, {}).get("queued", 0),
                "running": sum(counts.get(queue, {}).get(state, 0) for state in HELD_STATES),
                "slots": slots.get(queue, 0),
                "busy": busy.get(queue, 0),
            }
            for queue in sorted({*types, *counts, *slots})
        ]

    def waiting_notice(self, machine_type: str, queue: str) -> str | None:
        """Return why runs on a queue have to wait for a worker, None when they need not."""
        if self._roster.slots(queue):
            return None
        drained = self.drained_notice(machine_type, queue)
        return drained or f"no worker of type {machine_type} is up now: the runs wait"

    def drained_notice(self, machine_type: str, queue: str) -> str | None:
        """Return that all workers of a queue are drained, where there are some and they are."""
        if self._roster.slots(queue):
            return None
        drained = [
            presence.hello.worker for presence in self._roster.workers() if queue in presence.hello.queues
        ]
        if not drained:
            return None
        return (
            f"all workers of type {machine_type} are drained: the runs wait; "
            f"`augury workers undrain {drained[0]}` lets one go on"
        )

    # --- draining ---

    def drain(self, names: Sequence[str], reason: str, owner: str) -> list[dict[str, Any]]:
        """Let workers finish what they run and take nothing new; return them as they are now.

        Raises:
            RefusedError: there is no worker of one of the names; nothing was done.
        """
        self._check(names)
        now = time.time()
        self._store.writer.call(lambda c: drains.drain(c, now, names, reason, owner))
        return self._told(names)

    def undrain(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Let workers take runs again; return them as they are now.

        Raises:
            RefusedError: there is no worker of one of the names; nothing was done.
        """
        self._check(names)
        self._store.writer.call(lambda c: drains.undrain(c, names))
        return self._told(names)

    def _check(self, names: Sequence[str]) -> None:
        known = [worker["name"] for worker in self.listing()]
        for name in names:
            if name not in known:
                those = (
                    f"use one of {', '.join(known)}"
                    if known
                    else "no worker was seen since the server started"
                )
                raise RefusedError(f"there is no worker '{name}': {those}")

    def _told(self, names: Sequence[str]) -> list[dict[str, Any]]:
        try:
            self.tell()
        except BROKER_FAILURES as error:
            # The store knows, so no claim of theirs is granted; they are told within a second of its return.
            _log.warning("workers were not told of a drain: %s", error)
        return [worker for worker in self.listing() if worker["name"] in names]


def _document(
    name: str, presence: Presence | None, drain: Drain | None, held: Sequence[int], now: float
) -> dict[str, Any]:
    hello = presence.hello if presence is not None else None
    state, reason = _state(presence, drain, held, now)
    return {
        "name": name,
        "host": hello.host if hello else name.partition("@")[2],
        "types": list(hello.types) if hello else [],
        "queues": list(hello.queues) if hello else [],
        "slots": hello.slots if hello else 0,
        "busy": len(held),
        "runs": list(held),
        "last_seen_seconds": now - presence.seen if presence is not None else None,
        "state": state,
        "reason": reason,
        "drain": _drain_document(drain),
    }


def _drain_document(drain: Drain | None) -> Mapping[str, Any] | None:
    if drain is None:
        return None
    return {"reason": drain.reason, "owner": drain.owner, "since": iso(drain.since)}


def _state(
    presence: Presence | None, drain: Drain | None, held: Sequence[int], now: float
) -> tuple[str, str]:
    """Return the state of a worker, and the reason for it in words ("" while it is up)."""
    if presence is None:
        return "gone", "not heard of since the server started"
    if presence.gone == "silent":
        return "gone", f"not heard of for {now - presence.seen:.0f} s"
    if presence.gone == "ended":
        return ("draining", "it ends") if held else ("gone", "it has ended")
    if presence.refused is not None:
        return "refused", _REFUSALS[presence.refused]
    if drain is not None:
        return "draining" if held else "drained", drain.reason
    return "up", ""
