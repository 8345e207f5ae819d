"""A cheap synchronous reader of the interrupts, polled by model replicas once per token."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote

from agent.store.sql.connection import Connection, Database
from agent.store.sql.interrupts import EPOCH, LATEST
from flightloop.runs import Interrupt
from guardrails.interrupt import InterruptSnapshot

CLEARED_KEPT = timedelta(hours=1)


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
    database = Database.of(database_url)
    if database.path:
        # mode=rw: a missing file is an error, not a new database without interrupts.
        url = database.url.set(database=f"file:{quote(database.path)}", query={"mode": "rw", "uri": "true"})
        database = replace(database, url=url, pragmas=("busy_timeout=1000",))
    return _Reader(database)


class _Reader:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._latest = InterruptSnapshot(epoch=-1, interrupts=())

    def __call__(self) -> InterruptSnapshot:
        try:
            if self._connection is None:
                self._connection = self._database.connect()
            return self._read(self._connection)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read(self, connection: Connection) -> InterruptSnapshot:
        ((epoch,),) = connection.rows(EPOCH)
        if epoch != self._latest.epoch:
            # The rows may already belong to a later epoch; the next call then reads them again.
            since = (datetime.now(UTC) - CLEARED_KEPT).timestamp()
            documents = connection.column(LATEST, cleared_after=since, tenant_id=None)
            found = tuple(Interrupt.model_validate_json(document) for document in documents)
            self._latest = InterruptSnapshot(epoch=epoch, interrupts=found)
        return self._latest
