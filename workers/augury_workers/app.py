"""The Celery side of a worker, the only module that knows Celery: the doorbell comes in, a slot takes it."""

from __future__ import annotations

import gc
import logging
import warnings
from typing import Any

from billiard import current_process
from celery import Celery, bootsteps, signals
from celery.worker.control import Panel
from kombu import Connection, Exchange, Queue
from kombu.transport import redis

from augury_workers import protocol
from augury_workers.handover import SlotKeeper, SlotSetting
from augury_workers.hello import Hello
from augury_workers.settings import Settings

logger = logging.getLogger("augury_workers")

_RECONNECT_SECONDS = 5.0
"""Longest pause between two attempts to reach the broker again; Celery would wait up to 30 s."""

_keeper: SlotKeeper | None = None
"""The slot of this pool child."""


class _QoS(redis.QoS):
    """Acknowledges nothing: of a queue with `no_ack`, nothing is kept to be acknowledged.

    kombu would still strike each message from Redis, where it never was.
    """

    def ack(self, delivery_tag: str) -> None:
        """Do nothing."""


class _Channel(redis.Channel):
    QoS = _QoS


class _Transport(redis.Transport):
    Channel = _Channel


class _Connection(Connection):
    """A broker connection that comes back soon, and on which what is taken is acknowledged."""

    def get_transport_cls(self) -> type[_Transport]:
        """Return the transport of the Redis URLs, the only ones there are."""
        return _Transport

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Connect, trying again and again."""
        pauses = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": _RECONNECT_SECONDS}
        return super().ensure_connection(*args, **{**pauses, **kwargs})


def make_app(settings: Settings) -> Celery:
    """Return the Celery application of a worker; Celery carries the doorbell and nothing else."""
    app = Celery("augury", broker=protocol.celery_url(settings.redis_url), set_as_current=True)
    app.conf.update(
        accept_content=["json"],
        result_accept_content=["json"],
        event_serializer="json",
        task_acks_late=False,
        task_ignore_result=True,
        # Taken is acknowledged: what is lost on the way to the slot rings again (decision 0012).
        task_queues=[Queue(settings.queue, Exchange(""), routing_key=settings.queue, no_ack=True)],
        task_default_queue=settings.queue,
        task_default_exchange="",
        task_default_routing_key=settings.queue,
        task_create_missing_queues=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # They cost as much as all the rest of Celery: Flower and `celery events` turn them on to look.
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=60.0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": protocol.Keys(settings.instance).prefix,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 5,
            "visibility_timeout": 3600,
        },
    )
    app.amqp.Connection = _Connection
    app.task(name=protocol.TASK_NAME, ignore_result=True, bind=True)(_run)
    return app


def serve(settings: Settings, slots: SlotSetting, hello: Hello) -> int:
    """Run the Celery worker until it is told to end; returns its exit code."""
    _hush()
    app = make_app(settings)
    _install_hello(app, hello)
    for command in ("pool_grow", "pool_shrink", "pool_restart", "autoscale"):
        Panel.data.pop(command, None)  # the slots are what hello says, nobody changes them from outside

    def start_slot(**_: Any) -> None:
        global _keeper
        _keeper = SlotKeeper(slots, current_process().index)  # type: ignore[attr-defined]

    def end_slot(**_: Any) -> None:
        if _keeper is not None:
            _keeper.close()

    signals.worker_process_init.connect(start_slot, weak=False)
    signals.worker_process_shutdown.connect(end_slot, weak=False)
    worker = app.Worker(
        hostname=settings.name,
        pool="prefork",
        concurrency=settings.slots,
        queues=[settings.queue],
        loglevel=logging.WARNING,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    _hush()  # again: setting up its log has put the filters back
    gc.freeze()  # what was imported stays: not to be looked through again and again, nor copied by each child
    worker.start()
    return int(worker.exitcode or 0)


def _hush() -> None:
    """Silence Celery's warnings: of root (it fears pickle, only JSON is accepted), of chosen settings."""
    warnings.filterwarnings("ignore", module="celery")


def _run(self: Any, run: int, token: int) -> dict[str, Any]:
    """Hand a doorbell to this pool child's slot; returns when the run has ended."""
    assert _keeper is not None, "the task runs in a pool child only"
    result = _keeper.execute(int(run), int(token))
    if result.get("reason") == "version":
        logger.error(
            "the server speaks another version of the wire than %s: this worker takes no more runs; "
            "install the server's version of augury here and start it again",
            protocol.VERSION,
        )
        queue = self.request.delivery_info.get("routing_key")
        self.app.control.cancel_consumer(queue, destination=[self.request.hostname])
    return result


def _install_hello(app: Celery, hello: Hello) -> None:
    """Say hello at every (re)connection and every 10 s; at the end say that no slot is left."""

    class Greeting(bootsteps.StartStopStep):
        """Lives with the connection to the broker."""

        requires = ("celery.worker.consumer.connection:Connection",)

        def __init__(self, consumer: Any, **kwargs: Any) -> None:
            super().__init__(consumer, **kwargs)
            self.timer: Any = None

        def start(self, consumer: Any) -> None:
            hello.say()
            self.timer = consumer.timer.call_repeatedly(protocol.HELLO_SECONDS, hello.say)

        def stop(self, consumer: Any) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

    class Farewell(bootsteps.StartStopStep):
        """Lives with the worker."""

        # Not the consumer: that one is made the last of all, and a step after it would push it out.
        requires = ("celery.worker.components:Pool",)

        def close(self, worker: Any) -> None:
            hello.say(0)

    app.steps["consumer"].add(Greeting)
    app.steps["worker"].add(Farewell)
