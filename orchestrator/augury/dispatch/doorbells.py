"""Doorbells: one Celery message per run, that says a run is there and grants nothing.

The messages are Celery's (its protocol 2, in kombu's envelope for Redis), put on the queue's list as kombu
does. They are written here and not by Celery because nothing in them but a number, a token and a queue ever
differs: making one by `send_task` costs as much as a commit. A test holds them equal to what Celery sends.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from augury.dispatch.lane import Command, Lane
from augury_workers.protocol import TASK_NAME, Keys, task_id


class Doorbell(NamedTuple):
    """A run, the token it is to be claimed with, and the queue it waits on."""

    run_id: int
    token: int
    queue: str


class Doorbells:
    """Publishes doorbells; a lost one is found and rung anew."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        self._lane = Lane(redis_url)
        self._prefix = keys.prefix
        self._origin = f"augury{os.getpid()}@{platform.node()}"
        self._reply_to = str(uuid.uuid4())

    def publish(self, doorbells: Sequence[Doorbell]) -> None:
        """Put doorbells on their queues, in one round trip.

        Raises:
            BROKER_FAILURES: the broker is not there; some may ring all the same.
        """
        self._lane.call([self._command(doorbell) for doorbell in doorbells])

    def _command(self, doorbell: Doorbell) -> Command:
        # The default exchange: the routing key is the queue, and a queue is the list of that name.
        return ("LPUSH", self._prefix + doorbell.queue, json.dumps(self._message(doorbell)))

    def _message(self, doorbell: Doorbell) -> dict[str, Any]:
        run, token, queue = doorbell
        name = task_id(run, token)
        shown = {"argsrepr": "()", "kwargsrepr": f"run {run}, token {token}"}
        signatures = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        body = json.dumps([[], {"run": run, "token": token}, signatures])
        return {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": _HEADERS | shown | {"id": name, "root_id": name, "origin": self._origin},
            "properties": {
                "correlation_id": name,
                "reply_to": self._reply_to,
                **shown,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }


_HEADERS: dict[str, Any] = {
    "lang": "py",
    "task": TASK_NAME,
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "ignore_result": None,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}
