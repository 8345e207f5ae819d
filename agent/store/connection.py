"""A connection that is kept open, its transactions begun and ended in the driver's own words.

What SQLAlchemy does for each transaction (a connection from the pool, objects, events) takes longer than all that
SQLite does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine

from agent.store.backend import T


class Kept:
    """Belongs to one thread. Made when it is first needed, and again when it was lost.

    Args:
        engine: commits each statement that stands outside of a transaction (AUTOCOMMIT). What SQLAlchemy takes for
            the connection's transaction is none then, and stays open as long as the connection.
        begin: what begins a transaction.
    """

    def __init__(self, engine: Engine, *begin: str) -> None:
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
        return self._begin_on(self._connection)

    def _begin_on(self, connection: Connection) -> Connection:
        try:
            for words in self._begin:
                say(connection, words)
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
