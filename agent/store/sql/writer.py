"""Thread that performs all writes of a process to the journal's database.

Writes that arrive during a commit share the next transaction, so that many runs share one fsync. Tenants take turns: a
write waits for at most one write of each other tenant before it, however many these have queued.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from agent.store.backend import AuditContext, T, Transaction
from agent.store.sql.connection import Connection, PersistentConnection
from agent.store.sql.transaction import SqlTransaction
from flightloop.errors import StoreUnavailable
from guardrails.turns import TENANT

HELD_S = 0.02
"""Seconds for which a transaction starts further writes. Other processes, such as one that stops a run, must wait."""
TURN_S = 0.002
"""Pause after a long transaction. SQLite's lock has no queue; another process can take it in this time."""


@dataclass(frozen=True, eq=False)
class _Write:
    tenant_id: str
    work: Callable[[Transaction], Any]
    outcome: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Writer:
    """Runs writes in a thread until ``close``. The transactions of ``connection`` must be exclusive."""

    def __init__(self, connection: PersistentConnection, audit: AuditContext | None = None) -> None:
        self._connection = connection
        self._audit = audit or AuditContext()
        self._closed = False
        self._asked: SimpleQueue[_Write | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` in a transaction. Returns its result after the commit.

        Raises the error of ``work``, the driver's errors, and StoreUnavailable after ``close``.
        """
        if self._closed:
            raise StoreUnavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        self._asked.put(_Write(TENANT.get(), work, outcome, loop))
        return await outcome

    async def close(self) -> None:
        """Finishes all pending writes and stops the thread."""
        self._closed = True
        self._asked.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _run(self) -> None:
        waiting: list[_Write] = []
        closing = False
        while waiting or not closing:
            closing = self._gather(waiting) or closing
            waiting = _in_turns(waiting)
            if not waiting:
                continue
            began = time.monotonic()
            try:
                results = self._commit([write.work for write in waiting])
            except Exception as error:  # the transaction failed: no write is known to be stored
                results = [error] * len(waiting)
            done, waiting = waiting[: len(results)], waiting[len(results) :]
            with suppress(RuntimeError):  # the event loop is closed: nobody waits
                done[0].loop.call_soon_threadsafe(_settle, done, results)
            if time.monotonic() - began > HELD_S:
                time.sleep(TURN_S)

    def _gather(self, waiting: list[_Write]) -> bool:
        """Moves requested writes to ``waiting``; blocks while it is empty. Returns whether to close after them."""
        with suppress(Empty):
            while (write := self._asked.get(block=not waiting)) is not None:
                waiting.append(write)
            return True
        return False

    def _commit(self, works: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
        """Runs the works that start within ``HELD_S`` in one transaction, in order.

        Returns the result of each work that was run, or the error that rolled it back.
        """
        if len(works) == 1:  # a single work needs no savepoint: its failure rolls back the transaction
            return [self._connection.transaction(lambda connection: works[0](self._begun(connection)))]
        return self._connection.transaction(lambda connection: _attempts(connection, self._begun(connection), works))

    def _begun(self, connection: Connection) -> Transaction:
        return SqlTransaction(connection, self._audit)


def _in_turns(writes: Sequence[_Write]) -> list[_Write]:
    """Orders writes round-robin by tenant. The writes of one tenant stay in order."""
    queues: dict[str, deque[_Write]] = {}
    for write in writes:
        queues.setdefault(write.tenant_id, deque()).append(write)
    found: list[_Write] = []
    while queues:
        for tenant_id, queue in list(queues.items()):
            found.append(queue.popleft())
            if not queue:
                del queues[tenant_id]
    return found


def _attempts(connection: Connection, tx: Transaction, works: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
    results: list[Any] = []
    began = time.monotonic()
    for work in works:
        results.append(_attempt(connection, tx, work))
        if time.monotonic() - began > HELD_S:
            break
    return results


def _attempt(connection: Connection, tx: Transaction, work: Callable[[Transaction], Any]) -> Any:
    """Runs one work in a savepoint. Returns its result, or its error after a rollback to the savepoint."""
    connection.say("SAVEPOINT one")
    try:
        result = work(tx)
    except Exception as error:
        connection.say("ROLLBACK TO SAVEPOINT one")
        return error
    connection.say("RELEASE SAVEPOINT one")
    return result


def _settle(batch: Sequence[_Write], results: Sequence[Any]) -> None:
    for write, result in zip(batch, results, strict=True):
        if write.outcome.done():
            continue  # the caller was cancelled
        if isinstance(result, Exception):
            write.outcome.set_exception(result)
        else:
            write.outcome.set_result(result)
