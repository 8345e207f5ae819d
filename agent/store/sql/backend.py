"""A backend in SQL: SQLite (WAL, synchronous=FULL) on one node, PostgreSQL beyond it.

The database is driven synchronously from threads: one that writes (`agent.store.sql.writer`), a few that read.

Writing transactions come one after the other, on PostgreSQL as on SQLite: there an advisory lock, held to the
commit, does what SQLite's own lock does. So positions become visible in their order, which whoever follows all events
relies on, and no rule has to be proved against writes beside it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_ident
from typing import TypeVar

from agent.store.backend import T, Transaction
from agent.store.sql.connection import Database, PersistentConnection
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
"""What SQLite says where the disk is full, the latter of the WAL's index and of quotas."""
PATIENCE_MS = 10_000
"""How long a writing transaction waits for the one before it, and how long one may stand still."""
WRITERS = int.from_bytes(b"flights")
"""The advisory lock's number, any that no other program in the database uses."""
WRITING = {
    "sqlite": ("BEGIN IMMEDIATE",),
    "postgresql": ("BEGIN ISOLATION LEVEL READ COMMITTED", f"SELECT pg_advisory_xact_lock({WRITERS})"),
}
"""Begins a transaction that is alone."""
READING = {"sqlite": "BEGIN", "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
"""Begins one that sees one state of the database."""


class SqlBackend:
    """Belongs to one event loop. Migrates the database to the newest schema when it is made.

    Args:
        urgent: its writes go before those of other processes, as far as the database lets them.
        room: what it keeps is given up for writes that a full disk refuses.

    Raises:
        ConfigError: the database cannot be opened, or it is SQLite and open on another node.
    """

    def __init__(self, database_url: str, *, urgent: bool = False, room: Room | None = None) -> None:
        self._database = _database(database_url)
        self._node = _node_lock(self._database)
        try:
            migrate(database_url)
        except Exception as error:
            if self._node is not None:
                self._node.release()
            raise ConfigError(f"cannot open the journal's database {self._database.shown}: {_line(error)}") from error
        self._room = room or Room()
        self._room.lacking()  # makes what is kept
        self._presence = presence(database_url)
        kind = self._database.kind
        self._writer = Writer(PersistentConnection(self._database, *WRITING[kind], urgent=urgent and kind == "sqlite"))
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

    def listen(self, heard: Callable[[str | None], None]) -> bool:
        if self._database.kind != "postgresql":
            return False
        if self._listener is None:
            self._listener = Listener(self._database, heard)
        return self._listener.connected

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
        """In a reader's thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, function, given)
        except self._database.unavailable as error:
            raise _unavailable(error) from error

    def _read(self, work: Callable[[Transaction], T]) -> T:
        thread = get_ident()
        if thread not in self._kept:
            self._kept[thread] = PersistentConnection(self._database, self._reading)
        return self._kept[thread].transaction(lambda connection: work(SqlTransaction(connection)))


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the journal's database does not do its work: {_line(error)}")


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in FULL


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _database(database_url: str) -> Database:
    # A writer that stops in the middle (SIGSTOP, a lost node) gives the lock back; its commit then fails.
    bounds = f"-c lock_timeout={PATIENCE_MS} -c idle_in_transaction_session_timeout={PATIENCE_MS}"
    pragmas = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={PATIENCE_MS}", "foreign_keys=ON")
    return Database.of(database_url, pragmas=pragmas, options=bounds)


def _node_lock(database: Database) -> NodeLock | None:
    path = database.path
    return None if path in (None, "", ":memory:") else NodeLock(Path(str(path)))
