"""A cheap synchronous reader of the interrupts, polled by model replicas once per token."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from agent.store.sql.urls import synchronous
from flightloop.runs import Interrupt
from guardrails.interrupt import InterruptSnapshot

CLEARED_KEPT_S = 3600.0
EPOCH = "SELECT epoch FROM epochs"
ROWS = "SELECT document FROM interrupts WHERE cleared_at IS NULL OR cleared_at >= {since}"


class Reader(Protocol):
    """Reads the snapshot; where the epoch has not changed, only the epoch is read.

    To be called from one thread at a time, whichever. On SQLite a call costs some 10 µs.
    """

    def __call__(self) -> InterruptSnapshot:
        """Raises any error of the database driver, when the store cannot be reached."""
        ...

    def close(self) -> None: ...


def reader(database_url: str) -> Reader:
    """A reader of a store that may not be there yet."""
    database_url = synchronous(database_url)
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        return _SqliteReader(url.database)
    return _SqlReader(database_url)


class _SqliteReader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._latest = InterruptSnapshot(epoch=-1, interrupts=())

    def __call__(self) -> InterruptSnapshot:
        try:
            if self._connection is None:
                # mode=rw: a missing file is an error, not a new database without interrupts.
                self._connection = sqlite3.connect(
                    f"file:{quote(self._path)}?mode=rw",
                    uri=True,
                    isolation_level=None,
                    check_same_thread=False,
                    timeout=1.0,
                )
            return self._read(self._connection)
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read(self, connection: sqlite3.Connection) -> InterruptSnapshot:
        (epoch,) = connection.execute(EPOCH).fetchone()
        if epoch != self._latest.epoch:
            # The rows may already belong to a later epoch; the next call then reads them again.
            rows = connection.execute(ROWS.format(since="?"), (time.time() - CLEARED_KEPT_S,)).fetchall()
            self._latest = _snapshot(epoch, [document for (document,) in rows])
        return self._latest


class _SqlReader:
    def __init__(self, database_url: str) -> None:
        self._engine = create_engine(database_url, pool_size=1, max_overflow=0, isolation_level="AUTOCOMMIT")
        self._latest = InterruptSnapshot(epoch=-1, interrupts=())

    def __call__(self) -> InterruptSnapshot:
        with self._engine.connect() as connection:
            epoch = int(connection.execute(text(EPOCH)).scalar_one())
            if epoch != self._latest.epoch:
                since = datetime.now(UTC).timestamp() - CLEARED_KEPT_S
                rows = connection.execute(text(ROWS.format(since=":since")), {"since": since})
                self._latest = _snapshot(epoch, [document for (document,) in rows])
        return self._latest

    def close(self) -> None:
        self._engine.dispose()


def _snapshot(epoch: int, documents: list[str]) -> InterruptSnapshot:
    found = tuple(Interrupt.model_validate_json(document) for document in documents)
    return InterruptSnapshot(epoch=epoch, interrupts=found)
