"""A backend on SQLAlchemy: SQLite (WAL, synchronous=FULL) on one node, PostgreSQL beyond it.

The database is driven synchronously from threads: one that writes, a few that read. Writes that
arrive while a transaction is being made durable share the next one, so that many runs cost one
fsync together.

Writing transactions come one after the other, on PostgreSQL as on SQLite: there an advisory lock, held to the
commit, does what SQLite's own lock does. So positions become visible in their order, which whoever follows all events
relies on, and no rule has to be proved against writes beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.pool import QueuePool

from agent.store.backend import T, Transaction
from agent.store.migrate import migrate
from agent.store.node import NodeLock
from agent.store.presence import presence
from agent.store.sql_transaction import SqlTransaction
from flightloop.errors import ConfigError, StoreUnavailable

Given = TypeVar("Given")

READERS = 4
UNAVAILABLE = (OperationalError, InterfaceError)
"""The server is gone, a lock was waited for too long, the disk is full: later it may go. Statements that go to the
driver itself raise its own errors of these names."""
PATIENCE_MS = 10_000
"""How long a writing transaction waits for the one before it, and how long one may stand still."""
WRITERS = int.from_bytes(b"flights")
"""The advisory lock's number, any that no other program in the database uses."""


@dataclass(frozen=True)
class _Pending:
    work: Callable[[Transaction], Any]
    outcome: asyncio.Future[Any]


class SqlBackend:
    """Belongs to one event loop. Migrates the database to the newest schema when it is made.

    Raises:
        ConfigError: the database cannot be opened, or it is SQLite and open on another node.
    """

    def __init__(self, database_url: str) -> None:
        self._node = _node_lock(database_url)
        try:
            migrate(database_url)
        except Exception as error:
            if self._node is not None:
                self._node.release()
            raise ConfigError(f"cannot open the journal's database {_shown(database_url)}: {_line(error)}") from error
        self._presence = presence(database_url)
        self._write_engine = engine(database_url, writing=True)
        self._read_engine = engine(database_url, writing=False, connections=READERS)
        self._writer = ThreadPoolExecutor(1, "journal-writer")
        self._readers = ThreadPoolExecutor(READERS, "journal-reader")
        driver: Any = self._write_engine.dialect.dbapi
        self._unavailable = (*UNAVAILABLE, driver.OperationalError, driver.InterfaceError)
        self._pending: list[_Pending] = []
        self._flushing: asyncio.Task[None] | None = None

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._aside(self._read, work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(work, outcome))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await outcome

    async def appear(self, worker: str) -> None:
        await self._aside(self._presence.appear, worker)

    async def gone(self, workers: Sequence[str]) -> frozenset[str]:
        return await self._aside(self._presence.gone, workers)

    async def close(self) -> None:
        if self._flushing is not None:
            await self._flushing
        self._writer.shutdown()
        self._readers.shutdown()
        self._write_engine.dispose()
        self._read_engine.dispose()
        self._presence.close()
        if self._node is not None:
            self._node.release()
            self._node = None

    async def _aside(self, function: Callable[[Given], T], given: Given) -> T:
        """In a reader's thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, function, given)
        except self._unavailable as error:
            raise _unavailable(error) from error

    def _read(self, work: Callable[[Transaction], T]) -> T:
        with self._read_engine.begin() as connection:
            return work(SqlTransaction(connection))

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                results = await loop.run_in_executor(self._writer, self._commit, [entry.work for entry in batch])
            except Exception as error:  # the transaction as a whole failed: nobody's write is stored, as far as we know
                results = [_unavailable(error) if isinstance(error, self._unavailable) else error] * len(batch)
            for entry, result in zip(batch, results, strict=True):
                if entry.outcome.done():
                    continue  # its caller was cancelled
                if isinstance(result, Exception):
                    entry.outcome.set_exception(result)
                else:
                    entry.outcome.set_result(result)

    def _commit(self, batch: Sequence[Callable[[Transaction], Any]]) -> list[Any]:
        with self._write_engine.begin() as connection:
            if len(batch) == 1:  # alone it needs no savepoint: its failure undoes the transaction
                return [batch[0](SqlTransaction(connection))]
            return [_attempt(connection, work) for work in batch]


def _attempt(connection: Connection, work: Callable[[Transaction], Any]) -> Any:
    """One write within the shared transaction; its failure undoes only itself and is returned."""
    savepoint = connection.begin_nested()
    try:
        result = work(SqlTransaction(connection))
    except Exception as error:
        savepoint.rollback()
        return error
    savepoint.commit()
    return result


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the journal's database does not do its work: {_line(error)}")


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def engine(database_url: str, *, writing: bool, connections: int = 1) -> Engine:
    """An engine with a fixed pool. Transactions that read see one state of the database, those that write are alone."""
    if make_url(database_url).get_backend_name() == "postgresql":
        return _postgresql(database_url, writing, connections)
    return _sqlite(database_url, writing, connections)


def _sqlite(database_url: str, writing: bool, connections: int) -> Engine:
    made = create_engine(database_url, poolclass=QueuePool, pool_size=connections, max_overflow=0)

    @event.listens_for(made, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions by itself, and too late
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={PATIENCE_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return made


def _postgresql(database_url: str, writing: bool, connections: int) -> Engine:
    # A writer that stops in the middle (SIGSTOP, a lost node) gives the lock back; its commit then fails.
    bounds = f"-c lock_timeout={PATIENCE_MS} -c idle_in_transaction_session_timeout={PATIENCE_MS}"
    made = create_engine(
        database_url,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,  # connections of before a restart of the database are replaced
        isolation_level="READ COMMITTED" if writing else "REPEATABLE READ",
        connect_args={"options": bounds},
    )
    if writing:

        @event.listens_for(made, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")

    return made


def _node_lock(database_url: str) -> NodeLock | None:
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return NodeLock(Path(str(url.database)))


def _shown(database_url: str) -> str:
    return make_url(database_url).render_as_string(hide_password=True)
