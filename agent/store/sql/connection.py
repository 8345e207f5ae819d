"""A connection that is kept open, its transactions begun and ended in the driver's own words.

What SQLAlchemy does for each transaction (a connection from the pool, objects, events) takes longer than all that
SQLite does.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine

from agent.store.backend import T

URGENT_S = 10.0


class PersistentConnection:
    """Belongs to one thread. Made when it is first needed, and again when it was lost.

    Args:
        engine: commits each statement that stands outside of a transaction (AUTOCOMMIT). What SQLAlchemy takes for
            the connection's transaction is none then, and stays open as long as the connection.
        begin: what begins a transaction.
        urgent: a database that is locked is asked again every millisecond. SQLite itself asks ever more seldom, so
            that others who come later may be served before.
    """

    def __init__(self, engine: Engine, *begin: str, urgent: bool = False) -> None:
        self._urgent = urgent
        self._engine = engine
        self._begin = begin
        self._connection: Connection | None = None

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """What the work returns, after the commit. Raises its error, and those of the driver and of SQLAlchemy."""
        connection = self._begun()
        try:
            result = work(connection)
            say(connection, "COMMIT")
        except BaseException:
            self._undo(connection)
            raise
        return result

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _begun(self) -> Connection:
        if self._connection is not None:
            driver: Any = self._connection.connection.driver_connection
            try:
                return self._begin_on(self._connection)
            except Exception as error:
                if not self._engine.dialect.is_disconnect(error, driver, None):  # type: ignore[arg-type]
                    raise
        self._connection = self._engine.connect()
        if self._urgent:
            say(self._connection, "PRAGMA busy_timeout=0")
        return self._begin_on(self._connection)

    def _begin_on(self, connection: Connection) -> Connection:
        try:
            for words in self._begin:
                _patiently(connection, words) if self._urgent else say(connection, words)
        except BaseException:  # on PostgreSQL it may have begun all the same, and failed
            self._drop(connection)
            raise
        return connection

    def _undo(self, connection: Connection) -> None:
        try:
            say(connection, "ROLLBACK")
        except Exception:  # the connection is lost, and its transaction with it
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._connection = None
        connection.invalidate()
        connection.close()


def say(connection: Connection, words: str) -> None:
    """A statement without parameters or rows."""
    driver: Any = connection.connection.driver_connection
    driver.execute(words)


def _patiently(connection: Connection, words: str) -> None:
    """Says it until the database is not locked. Raises the driver's error when that takes too long."""
    deadline = time.monotonic() + URGENT_S
    while True:
        try:
            return say(connection, words)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.001)
