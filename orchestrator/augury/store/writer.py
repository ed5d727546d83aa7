"""The one thread that writes: closures queue up, many share a transaction, answers come after COMMIT."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from augury.errors import RefusedError

T = TypeVar("T")
Work = Callable[[Connection], Any]

_BATCH = 256
_log = logging.getLogger(__name__)


class Writer:
    """Runs closures over the store's writing connection, grouped into transactions.

    When one closure of a group fails, the group is rolled back and each runs again alone: a closure
    must therefore change nothing but the database. Every transaction checks that no later server
    has taken over (`epoch`).
    """

    def __init__(self, engine: Engine, epoch: int) -> None:
        self._engine = engine
        self._epoch = epoch
        self._connection: Connection | None = None
        self._queue: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue `work`; the future has its result once it is committed."""
        future: Future[T] = Future()
        self._queue.put((work, future))
        return future

    def call(self, work: Callable[[Connection], T]) -> T:
        """Queue `work` and wait until it is committed."""
        return self.submit(work).result()

    def stop(self) -> None:
        """Commit what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        more = True
        while more:
            item = self._queue.get()
            if item is None:
                break
            group = [item]
            while len(group) < _BATCH:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    more = False
                    break
                group.append(item)
            self._run(group)
        self._disconnect()

    def _run(self, group: list[tuple[Work, Future[Any]]]) -> None:
        try:
            results = self._transaction([work for work, _ in group])
        except Exception as error:  # noqa: BLE001 - handed to whoever asked, through the future
            self._disconnect()
            if len(group) == 1:
                group[0][1].set_exception(error)
                return
            for item in group:
                self._run([item])
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)

    def _transaction(self, works: list[Work]) -> list[Any]:
        connection = self._connect()
        with connection.begin():
            epoch = connection.exec_driver_sql("SELECT epoch FROM instance").scalar_one()
            if epoch != self._epoch:
                raise RefusedError("another server has taken over this store")
            return [work(connection) for work in works]

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
