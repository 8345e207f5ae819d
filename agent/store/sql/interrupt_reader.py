"""Fast synchronous reader of the interrupts, which model replicas poll once per token."""

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
    """Reads the interrupts, or only their epoch while it is unchanged.

    Any thread may call it, one at a time. On SQLite a call takes about 10 µs.
    """

    def __call__(self) -> InterruptSnapshot:
        """Returns the current snapshot. Raises the database driver's errors."""
        ...

    def close(self) -> None: ...


def reader(database_url: str) -> Reader:
    """A reader of the database at this URL, which may not exist yet."""
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
            # The rows may belong to a later epoch already; then the next call reads them again.
            since = (datetime.now(UTC) - CLEARED_KEPT).timestamp()
            documents = connection.column(LATEST, cleared_after=since, tenant_id=None)
            found = tuple(Interrupt.model_validate_json(document) for document in documents)
            self._latest = InterruptSnapshot(epoch=epoch, interrupts=found)
        return self._latest
