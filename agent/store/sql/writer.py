"""The one thread that writes.

Writes that arrive while a transaction is being made durable share the next one, so that many runs cost one fsync
together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from agent.store.backend import T, Transaction
from agent.store.sql.connection import Connection, PersistentConnection
from agent.store.sql.transaction import SqlTransaction
from flightloop.errors import StoreUnavailable

HELD_S = 0.02
"""How long a transaction takes up writes, while other processes (the stop is raised in one) wait for the database."""
TURN_S = 0.002
"""After a long transaction: SQLite's lock has no queue, whoever asks in this time gets it."""


@dataclass(frozen=True)
class _Write:
    work: Callable[[Transaction], Any]
    outcome: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Writer:
    """Runs until ``close``. ``connection``: with transactions that wait for the one before them."""

    def __init__(self, connection: PersistentConnection) -> None:
        self._connection = connection
        self._closed = False
        self._asked: SimpleQueue[_Write | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """What the work returns, once it is durable.

        Raises its error, those of the driver, and StoreUnavailable once it is closed.
        """
        if self._closed:
            raise StoreUnavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        self._asked.put(_Write(work, outcome, loop))
        return await outcome

    async def close(self) -> None:
        """Once all that was asked for is done."""
        self._closed = True
        self._asked.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _run(self) -> None:
        for batch in self._batches():
            while batch:
                began = time.monotonic()
                try:
                    results = self._commit([write.work for write in batch])
                except Exception as error:  # as a whole: nobody's write is stored, as far as we know
                    results = [error] * len(batch)
                done, batch = batch[: len(results)], batch[len(results) :]
                with suppress(RuntimeError):  # their loop is closed: nobody waits any more
                    done[0].loop.call_soon_threadsafe(_settle, done, results)
                if time.monotonic() - began > HELD_S:
                    time.sleep(TURN_S)

    def _batches(self) -> Iterator[list[_Write]]:
        """All that waits, again and again, until the end is asked for."""
        while (write := self._asked.get()) is not None:
            batch = [write]
            try:
                while (write := self._asked.get_nowait()) is not None:
                    batch.append(write)
            except Empty:
                yield batch
            else:
                yield batch
                return

    def _commit(self, works: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
        """The first of it, as much as is done in ``HELD_S``; all of that, or nothing.

        What each work returned, or the error that undid it alone.
        """
        if len(works) == 1:  # alone it needs no savepoint: its failure undoes the transaction
            return [self._connection.transaction(lambda connection: works[0](SqlTransaction(connection)))]
        return self._connection.transaction(lambda connection: _attempts(connection, works))


def _attempts(connection: Connection, works: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
    results: list[Any] = []
    began = time.monotonic()
    for work in works:
        results.append(_attempt(connection, work))
        if time.monotonic() - began > HELD_S:
            break
    return results


def _attempt(connection: Connection, work: Callable[[Transaction], Any]) -> Any:
    """One write within the shared transaction; its failure undoes only itself and is returned."""
    connection.say("SAVEPOINT one")
    try:
        result = work(SqlTransaction(connection))
    except Exception as error:
        connection.say("ROLLBACK TO SAVEPOINT one")
        return error
    connection.say("RELEASE SAVEPOINT one")
    return result


def _settle(batch: Sequence[_Write], results: Sequence[Any]) -> None:
    for write, result in zip(batch, results, strict=True):
        if write.outcome.done():
            continue  # its caller was cancelled
        if isinstance(result, Exception):
            write.outcome.set_exception(result)
        else:
            write.outcome.set_result(result)
