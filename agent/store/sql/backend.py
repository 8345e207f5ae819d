"""SQL backend: SQLite (WAL, synchronous=FULL) on one node, PostgreSQL on several.

Threads call the database synchronously: one thread writes (`agent.store.sql.writer`), a few read.

Writing transactions run one at a time on both databases: SQLite has its own lock, and on PostgreSQL each transaction
holds an advisory lock until its commit. So positions become visible in order, which readers of all events rely on, and
rules need no protection against concurrent writes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_ident
from typing import TypeVar

from agent.store.backend import AuditContext, T, Transaction
from agent.store.sql.compaction import compacted
from agent.store.sql.connection import Database, PersistentConnection, first_line
from agent.store.sql.disk_room import PORTION, SIZE, Room
from agent.store.sql.listener import Listener
from agent.store.sql.migrate import migrate
from agent.store.sql.node import NodeLock
from agent.store.sql.transaction import SqlTransaction
from agent.store.sql.worker_liveness import presence
from agent.store.sql.writer import Writer
from flightloop.errors import ConfigError, StoreUnavailable

Given = TypeVar("Given")

READERS = 4
FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""SQLite's error codes for a full disk; the second one is raised for the WAL index and for quotas."""
PATIENCE_MS = 10_000
"""Longest time that a writing transaction waits for the previous one, and that it may be idle."""
WRITERS = int.from_bytes(b"flights")
"""Number of the advisory lock; other programs in the database must not use it."""
WRITING = {
    "sqlite": ("BEGIN IMMEDIATE",),
    "postgresql": ("BEGIN ISOLATION LEVEL READ COMMITTED", f"SELECT pg_advisory_xact_lock({WRITERS})"),
}
"""Commands that begin an exclusive transaction."""
READING = {"sqlite": "BEGIN", "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
"""Command that begins a transaction with one snapshot of the database."""


class SqlBackend:
    """Implements ``agent.store.backend.Backend``. Belongs to one event loop.

    The constructor migrates the database to the newest schema.

    Args:
        urgent: whether its writes take precedence over those of other processes, if the database is SQLite.
        room: reserved disk space that is released for writes that fail because the disk is full.
        audit: keys that seal audit records, and policies whose texts are kept; None: no keys.

    Raises:
        ConfigError: the database cannot be opened, or it is SQLite and open on another node.
    """

    def __init__(
        self,
        database_url: str,
        *,
        urgent: bool = False,
        room: Room | None = None,
        audit: AuditContext | None = None,
    ) -> None:
        self._database = _database(database_url)
        self._node = _node_lock(self._database)
        try:
            migrate(database_url)
        except Exception as error:
            if self._node is not None:
                self._node.release()
            raise ConfigError(
                f"cannot open the journal's database {self._database.shown}: {first_line(error)}"
            ) from error
        self._room = room or Room()
        self._room.lacking()  # creates the reserve
        self._presence = presence(database_url)
        kind = self._database.kind
        self.audit = audit or AuditContext()
        writing = PersistentConnection(self._database, *WRITING[kind], urgent=urgent and kind == "sqlite")
        self._writer = Writer(writing, self.audit)
        self._reading = READING[kind]
        self._readers = ThreadPoolExecutor(READERS, "journal-reader")
        self._kept: dict[int, PersistentConnection] = {}
        self._listener: Listener | None = None

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._aside(self._read, work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        again = SIZE // PORTION
        while True:
            held = self._room.held()
            try:
                return await self._writer.write(work)
            except self._database.unavailable as error:
                if not (again and _is_full(error) and self._room.give(held)):
                    raise _unavailable(error) from error
                again -= 1

    async def appear(self, worker: str) -> None:
        await self._aside(self._presence.appear, worker)

    async def gone(self, workers: Sequence[str]) -> frozenset[str]:
        return await self._aside(self._presence.gone, workers)

    def sure_s(self) -> float:
        return self._presence.sure_s()

    def listen(self, on_topic: Callable[[str | None], None]) -> bool:
        if self._database.kind != "postgresql":
            return False
        if self._listener is None:
            self._listener = Listener(self._database, on_topic)
        return self._listener.connected

    async def compact(self, whole: bool) -> list[str]:
        return await asyncio.to_thread(compacted, self._database, whole)

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        await self._writer.close()
        self._readers.shutdown()
        for kept in self._kept.values():
            kept.close()
        self._presence.close()
        if self._node is not None:
            self._node.release()
            self._node = None

    async def _aside(self, function: Callable[[Given], T], given: Given) -> T:
        """Calls the function in a reader thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, function, given)
        except self._database.unavailable as error:
            raise _unavailable(error) from error

    def _read(self, work: Callable[[Transaction], T]) -> T:
        thread = get_ident()
        if thread not in self._kept:
            self._kept[thread] = PersistentConnection(self._database, self._reading)
        return self._kept[thread].transaction(lambda connection: work(SqlTransaction(connection, self.audit)))


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"journal database unavailable: {first_line(error)}")


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in FULL


def _database(database_url: str) -> Database:
    # A writer that stops inside a transaction (SIGSTOP, a lost node) loses the lock; its commit then fails.
    bounds = f"-c lock_timeout={PATIENCE_MS} -c idle_in_transaction_session_timeout={PATIENCE_MS}"
    # Overwrites what is deleted. Many builds of SQLite, such as Debian's, do so by default.
    pragmas = (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={PATIENCE_MS}",
        "foreign_keys=ON",
        "secure_delete=ON",
    )
    return Database.of(database_url, pragmas=pragmas, options=bounds)


def _node_lock(database: Database) -> NodeLock | None:
    path = database.path
    return None if path in (None, "", ":memory:") else NodeLock(Path(str(path)))
