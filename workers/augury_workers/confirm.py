"""The question before a late order is executed: is the attempt still ours?

An order may have waited in its box while this host could not reach Redis, longer than the server waits for a
sign of life. By then the run may be another worker's: no command is started before one heartbeat was
answered with `yours`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from augury_workers import platform
from augury_workers.conversation import GONE_SECONDS
from augury_workers.link import LinkError
from augury_workers.relay import Relay

FRESH_SECONDS = 5.0
"""An order that comes later after the first claim may have been taken back meanwhile."""

RETRY_SECONDS = 0.5
LONGEST_PAUSE = 5.0

Answer = Literal["yours", "superseded", "unknown", "fenced", "orphaned"]


def is_late(claimed: float) -> bool:
    """Tell whether an order claimed at `claimed` (boottime, seconds) needs to be confirmed."""
    return platform.boottime() - claimed > FRESH_SECONDS


async def confirm(relay: Relay, fence: float | None, orphaned: Callable[[], bool]) -> Answer:
    """Ask until the server's answer is known; while Redis fails, as long as the lease would last.

    `unknown` after the server has known nothing of the attempt for a minute (the leader writes a missing
    hash again each second), `fenced` when no answer came within `fence` seconds of the claim that brought
    the order, `orphaned` when the pool child is gone.
    """
    begun = platform.boottime()
    pause = RETRY_SECONDS
    while not orphaned():
        try:
            verdict = await relay.say()
        except LinkError:
            if fence is not None and platform.boottime() - relay.renewed > fence:
                return "fenced"
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            continue
        if verdict != "gone":
            return verdict
        if platform.boottime() - begun > GONE_SECONDS:
            return "unknown"
        await asyncio.sleep(RETRY_SECONDS)
    return "orphaned"
