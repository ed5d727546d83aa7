"""The Celery side of a worker, the only module that knows Celery: the doorbell comes in, a slot takes it."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
import warnings
from typing import Any

from billiard import current_process
from celery import Celery, bootsteps, signals
from celery.apps import worker as celery_worker
from celery.worker import state as worker_state
from celery.worker.control import Panel
from celery.worker.request import Request
from kombu import Connection, Exchange, Queue
from kombu.transport import redis

from augury_workers import protocol
from augury_workers.duty import LOOK_SECONDS, Denials, Duty
from augury_workers.handover import SlotKeeper, SlotSetting
from augury_workers.hello import Hello
from augury_workers.settings import Settings

logger = logging.getLogger("augury_workers")

_RECONNECT_SECONDS = 5.0
"""Longest pause between two attempts to reach the broker again; Celery would wait up to 30 s."""

EVENTS_SECONDS = 20.0
"""How long task events go on after somebody asked for them; Flower asks again every 5 s."""

_NOT_FROM_OUTSIDE = (
    *("pool_grow", "pool_shrink", "pool_restart", "autoscale", "add_consumer", "cancel_consumer"),
    *("shutdown", "revoke", "revoke_by_stamped_headers", "terminate", "rate_limit", "time_limit"),
)
"""What Celery does at the word of whoever reaches the broker: slots, queues and ends are Augury's to say."""

_FAILED = tuple(f"'state': '{state}'" for state in ("failed", "build_failed", "mount_failed", "died"))
"""How the results of runs look that a monitor shall see as failed: for Celery all went well."""

_keeper: SlotKeeper | None = None
"""The slot of this pool child."""

_denials = Denials()
"""What pool children tell the worker's main process."""


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


class _Request(Request):
    """A doorbell whose events all tell what it is: who listens may have come after the first of them."""

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event, if somebody asked for events; Celery never tells the queue."""
        known = {"name": self.name, "kwargs": self.kwargsrepr, **fields}
        if type == "task-succeeded" and any(words in str(fields.get("result")) for words in _FAILED):
            type, known["exception"] = "task-failed", fields["result"]
        super().send_event(type, routing_key=self.delivery_info.get("routing_key"), **known)


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
    app.task(name=protocol.TASK_NAME, ignore_result=True, bind=True, Request=_Request)(_run)
    return app


def serve(settings: Settings, slots: SlotSetting, hello: Hello) -> int:
    """Run the Celery worker until it is told to end; returns its exit code."""
    _hush()
    app = make_app(settings)
    _install_hello(app, hello, settings)
    _install_audience(app)
    for command in _NOT_FROM_OUTSIDE:
        Panel.data.pop(command, None)

    def start_slot(**_: Any) -> None:
        global _keeper
        _keeper = SlotKeeper(slots, current_process().index)  # type: ignore[attr-defined]

    def end_slot(**_: Any) -> None:
        if _keeper is not None:
            _keeper.close()

    ending = _Ending(settings.name)
    signals.worker_shutting_down.connect(ending.hear, weak=False)
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
    code = int(worker.exitcode or 0)
    return code if ending.code is None else ending.code


def _hush() -> None:
    """Silence Celery's warnings: of root (it fears pickle, only JSON is accepted), of chosen settings.

    And what it says of ^C: `_Ending` says it in our words.
    """
    warnings.filterwarnings("ignore", module="celery")
    celery_worker.safe_say = lambda *_: None  # type: ignore[attr-defined]


class _Ending:
    """Says what a worker that was told to end waits for, and keeps the exit code after ^C."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.code: int | None = None
        """0 after ^C, 130 after a second one, None unless there was one: then Celery's holds."""

    def hear(self, sig: str, how: str, **_: Any) -> None:
        """Note a signal; Celery calls this in the handler of it, which only this process has."""
        by_key = sig == "SIGINT"
        if how == "Cold":
            self.code = 130 if by_key else self.code
            return
        self.code = 0 if by_key else self.code
        runs = sorted(int(request.kwargs["run"]) for request in worker_state.active_requests)
        if not runs:
            return
        which = f"run{'s' if len(runs) > 1 else ''} {', '.join(map(str, runs))}"
        text = f"waits for {which} to end and takes nothing new"
        if by_key:
            text += "; a second ^C ends what still runs, and it is executed again elsewhere"
        # Not print: the signal may have come in the middle of one.
        os.write(2, f"augury worker {self._name}: {text}\n".encode())


def _run(self: Any, run: int, token: int) -> dict[str, Any]:
    """Hand a doorbell to this pool child's slot; returns when the run has ended."""
    assert _keeper is not None, "the task runs in a pool child only"
    result = _keeper.execute(int(run), int(token))
    if result.get("reason") in ("version", "key"):
        _denials.tell(result["reason"])
    return result


class _Hands:
    """What the worker's duty does to Celery's consumer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.consumer: Any = None

    def busy(self) -> bool:
        """Tell whether a doorbell is in hand or its run goes on."""
        return bool(worker_state.reserved_requests or worker_state.active_requests)

    def taken(self) -> int:
        """Return how many doorbells were taken."""
        return int(worker_state.all_total_count[0])

    def consume(self) -> None:
        """Take doorbells, also after the connection was lost and made anew."""
        self.consumer.add_task_queue(self._settings.queue)

    def cancel(self) -> None:
        """Take none, also after that. One that is just being popped is put back by Kombu."""
        if self.consumer.task_consumer is None:  # at the start: there is none yet to be told
            self.consumer.app.amqp.queues.deselect(self._settings.queue)
        else:
            self.consumer.cancel_task_queue(self._settings.queue)

    def end(self, code: int) -> None:
        """End the worker as SIGTERM does, with this exit code."""
        worker_state.should_stop = code  # type: ignore[assignment]  # Celery reads an exit code there

    def say(self, text: str) -> None:
        """Say so where the worker says its name."""
        print(f"augury worker {self._settings.name}: {text}", file=sys.stderr, flush=True)


def _install_hello(app: Celery, hello: Hello, settings: Settings) -> None:
    """Say hello at every (re)connection, every 10 s and to a new server; at the end that no slot is left.

    Each second look whether this worker shall take runs.
    """
    hands = _Hands(settings)
    duty = Duty(hands, _denials, settings.idle_seconds, time.monotonic())

    class Greeting(bootsteps.StartStopStep):
        """Lives with the connection to the broker."""

        requires = ("celery.worker.consumer.connection:Connection",)

        def __init__(self, consumer: Any, **kwargs: Any) -> None:
            super().__init__(consumer, **kwargs)
            self.timers: list[Any] = []

        def start(self, consumer: Any) -> None:
            hello.say()
            hands.consumer = consumer
            self.look()
            for seconds, what in ((protocol.HELLO_SECONDS, hello.say), (LOOK_SECONDS, self.look)):
                self.timers.append(consumer.timer.call_repeatedly(seconds, what))

        def look(self) -> None:
            duty.look(hello.look(), time.monotonic())

        def stop(self, consumer: Any) -> None:
            while self.timers:
                self.timers.pop().cancel()

    class Farewell(bootsteps.StartStopStep):
        """Lives with the worker."""

        # Not the consumer: that one is made the last of all, and a step after it would push it out.
        requires = ("celery.worker.components:Pool",)

        def close(self, worker: Any) -> None:
            hello.leave()

    app.steps["consumer"].add(Greeting)
    app.steps["worker"].add(Farewell)


def _install_audience(app: Celery) -> None:
    """End task events when nobody has asked for them lately: a monitor may be killed, and they cost."""
    enable = Panel.data["enable_events"]
    asked = -EVENTS_SECONDS

    def hear(state: Any, **arguments: Any) -> Any:
        nonlocal asked
        asked = time.monotonic()
        return enable(state, **arguments)

    Panel.data["enable_events"] = hear

    class Audience(bootsteps.StartStopStep):
        """Lives with the dispatcher of events."""

        requires = ("celery.worker.consumer.events:Events",)

        def __init__(self, consumer: Any, **kwargs: Any) -> None:
            super().__init__(consumer, **kwargs)
            self.timer: Any = None

        def start(self, consumer: Any) -> None:
            self.timer = consumer.timer.call_repeatedly(EVENTS_SECONDS / 4, self.look, (consumer,))

        def look(self, consumer: Any) -> None:
            dispatcher = consumer.event_dispatcher
            if dispatcher is not None and time.monotonic() - asked > EVENTS_SECONDS:
                dispatcher.groups.discard("task")

        def stop(self, consumer: Any) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

    app.steps["consumer"].add(Audience)
