"""Doorbells: one Celery message per run, that says a run is there and grants nothing.

The only module of the server that knows Celery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from celery import Celery
from kombu.exceptions import KombuError, OperationalError

from augury_workers.protocol import TASK_NAME, Keys, celery_url, task_id

PUBLISH_FAILURES = (OperationalError, KombuError, OSError)
"""What `Doorbells.publish` raises when the broker does not answer."""


class Doorbell(NamedTuple):
    """A run, the token it is to be claimed with, and the queue it waits on."""

    run_id: int
    token: int
    queue: str


class Doorbells:
    """Publishes doorbells; retries nothing, since a lost doorbell is found and rung anew."""

    def __init__(self, redis_url: str, keys: Keys) -> None:
        self._app = Celery("augury", broker=celery_url(redis_url), set_as_current=False)
        self._app.conf.update(
            task_ignore_result=True,
            task_create_missing_queues=True,
            task_serializer="json",
            task_send_sent_event=False,
            broker_transport_options={
                "global_keyprefix": keys.prefix,
                "socket_timeout": 10,
                "socket_connect_timeout": 5,
                "socket_keepalive": True,
                "health_check_interval": 5,
            },
        )

    def publish(self, doorbells: Sequence[Doorbell]) -> None:
        """Put doorbells on their queues, in one round trip.

        Raises:
            PUBLISH_FAILURES: the broker is not there.
        """
        producer: Any
        with self._app.producer_pool.acquire(block=True, timeout=5) as producer, producer.batch():
            for doorbell in doorbells:
                self._app.send_task(
                    TASK_NAME,
                    task_id=task_id(doorbell.run_id, doorbell.token),
                    kwargs={"run": doorbell.run_id, "token": doorbell.token},
                    queue=doorbell.queue,
                    argsrepr="()",
                    kwargsrepr=f"run {doorbell.run_id}, token {doorbell.token}",
                    producer=producer,
                    retry=False,
                )
