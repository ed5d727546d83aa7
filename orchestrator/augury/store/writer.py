"""The one connection that writes: closures queue up, many share a transaction, answers come after COMMIT.

Who finds nobody else writing writes itself. Else a closure queues for the writer's thread: handing each one
over and back would cost as much as the transaction does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from augury.errors import RefusedError, UnavailableError
from augury.store import schema

T = TypeVar("T")
Work = Callable[[Connection], Any]
_Item = tuple[Work, Future[Any]]

FAILURES = (OperationalError, InterfaceError, UnavailableError)
"""The database does not answer, takes no writes, or its disk is full: the same may work later."""

_BATCH = 256
# On PostgreSQL the row is locked, so that no later server begins before this transaction has ended.
_EPOCH = select(schema.instance.c.epoch).with_for_update(read=True)
# PostgreSQL's codes: a lock was held for too long; the session or its server is read-only.
_LOCKED, _READ_ONLY = "55P03", "25006"


class Writer:
    """Runs closures over the store's writing connection, grouped into transactions.

    When one closure of a group fails, the group is rolled back and each runs again alone; when the
    connection breaks, all run once more on a new one; when a lock stays held, all are told, as each would
    wait for it again. A closure must therefore change nothing but the database. What breaks during COMMIT
    is not repeated, as it may hold: all of the group are told.
    Every transaction checks that no later server has taken over (`epoch`).
    """

    def __init__(self, engine: Engine, epoch: int) -> None:
        self._engine = engine
        self._epoch = epoch
        self._connection: Connection | None = None
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._stopping = False
        self._held = False
        self._waiting = 0
        self._lock = threading.Lock()
        """Guards `_stopping`, `_waiting` and the order of the queue."""
        self._turn = threading.Lock()
        """Held by the thread that uses the connection."""
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue `work`; the future has its result once it is committed.

        Raises:
            UnavailableError: the store is closed.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._stopping:
                raise UnavailableError("the store is closed")
            self._waiting += 1
            self._queue.put((work, future))
        return future

    def call(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in its turn and return when it is committed.

        Raises:
            UnavailableError: the store is closed.
        """
        with self._lock:
            free = not (self._waiting or self._stopping) and self._turn.acquire(blocking=False)
        if not free:
            return self.submit(work).result()
        future: Future[T] = Future()
        try:
            self._run([(work, future)])
        finally:
            self._turn.release()
        return future.result()

    def hold(self, held: bool) -> None:
        """Refuse all writes (`UnavailableError`) for as long as it is unknown whether this server leads."""
        self._held = held

    def stop(self) -> None:
        """Commit what is queued and end the thread; nothing is taken any more."""
        with self._lock:
            self._stopping = True
            self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        item = self._queue.get()
        while item is not None:
            group = [item]
            while len(group) < _BATCH and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    break
                group.append(item)
            with self._turn:
                # A cancelled one is left out; from here on none can be cancelled.
                self._run([one for one in group if one[1].set_running_or_notify_cancel()])
            with self._lock:
                self._waiting -= len(group)
            if item is not None:
                item = self._queue.get()
        with self._turn:
            self._disconnect()

    def _run(self, group: list[_Item], *, again: bool = True) -> None:
        if not group:
            return
        step = "begin"
        try:
            connection, transaction = self._begin()
            step = "work"
            results = [work(connection) for work, _ in group]
            step = "commit"
            transaction.commit()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked, through the future
            code = getattr(error.orig, "pgcode", None) if isinstance(error, DBAPIError) else None
            self._disconnect(for_good=code == _READ_ONLY)
            broken = isinstance(error, DBAPIError) and error.connection_invalidated
            if broken and again and step != "commit":
                self._run(group, again=False)
            elif step == "work" and len(group) > 1 and code != _LOCKED:
                for item in group:
                    self._run([item])
            else:
                told = UnavailableError("the database is read-only now") if code == _READ_ONLY else error
                for _, future in group:
                    future.set_exception(told)
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)

    def _begin(self) -> tuple[Connection, RootTransaction]:
        """Begin a transaction in which no later server can take over."""
        if self._held:
            raise UnavailableError("the store does not answer")
        if self._connection is None:
            self._connection = self._engine.connect()
        transaction = self._connection.begin()
        if self._connection.execute(_EPOCH).scalar_one() != self._epoch:
            raise RefusedError("another server has taken over this store")
        return self._connection, transaction

    def _disconnect(self, *, for_good: bool = False) -> None:
        """Give the connection back, or close it: the next one may lead to a server that takes writes."""
        if self._connection is not None:
            if for_good:
                self._connection.invalidate()
            self._connection.close()
            self._connection = None
