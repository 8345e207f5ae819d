"""The connection layer of the store: database, connection, and transactions on a connection that stays open.

Statements go directly to the driver, because SQLAlchemy's overhead per statement and transaction exceeds the time that
SQLite takes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from sqlalchemy.engine import URL, make_url

from agent.store.backend import T
from agent.store.sql.statement import Kind, Statement
from agent.store.sql.urls import synchronous

DRIVERS: dict[Kind, Any] = {"sqlite": sqlite3, "postgresql": psycopg}
URGENT_S = 10.0
FEW = 16
"""Rows fetched at a time where a page may end before the last row."""


class Connection:
    """A driver's connection in autocommit mode.

    Values and errors are the driver's. SQLite returns booleans as integers.
    """

    def __init__(self, driver: Any, kind: Kind) -> None:
        self.driver = driver
        self.kind = kind

    def rows(self, statement: Statement, **given: Any) -> list[tuple[Any, ...]]:
        """All rows of a query; values are in the order of its columns."""
        return cast("list[tuple[Any, ...]]", self._executed(statement, given).fetchall())

    def row(self, statement: Statement, **given: Any) -> tuple[Any, ...] | None:
        """First row of a query; None if there is none."""
        found = self.rows(statement, **given)
        return found[0] if found else None

    def column(self, statement: Statement, **given: Any) -> list[Any]:
        """First column of a query."""
        return [row[0] for row in self.rows(statement, **given)]

    @contextmanager
    def each(self, statement: Statement, **given: Any) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Iterates over the rows of a query and fetches them in small batches. Needs a transaction."""
        if self.kind == "sqlite":
            with closing(self._executed(statement, given)) as cursor:
                yield cursor
        else:
            with self.driver.cursor("page") as cursor:
                cursor.itersize = FEW
                cursor.execute(statement.text(self.kind, given), statement.values(self.kind, given))
                yield cursor

    def write(self, statement: Statement, **given: Any) -> int:
        """Executes the statement. Returns the number of rows that it changed."""
        return int(self._executed(statement, given).rowcount)

    def write_all(self, statement: Statement, given: Sequence[Mapping[str, Any]]) -> None:
        """Executes the statement once for each set of parameters in ``given``."""
        if len(given) == 1:  # psycopg starts a pipeline even for one
            self._executed(statement, given[0])
        elif given:
            self.driver.cursor().executemany(statement.text(self.kind, given[0]), given)

    def say(self, words: str) -> None:
        """Executes a command that has no parameters and returns no rows."""
        self.driver.execute(words)

    @property
    def lost(self) -> bool:
        """Whether the driver knows that the connection has ended."""
        return self.kind == "postgresql" and bool(self.driver.closed)

    def close(self) -> None:
        self.driver.close()

    def _executed(self, statement: Statement, given: Mapping[str, Any]) -> Any:
        return self.driver.execute(statement.text(self.kind, given), statement.values(self.kind, given))


@dataclass(frozen=True)
class Database:
    """URL of a database and settings of its connections."""

    url: URL
    pragmas: tuple[str, ...] = ()
    """Pragmas for SQLite, such as ``journal_mode=WAL``."""
    options: str = ""
    """Options for PostgreSQL, written as on the server's command line."""

    @classmethod
    def of(cls, database_url: str, *, pragmas: Sequence[str] = (), options: str = "") -> Database:
        """The database at a URL. Raises ConfigError if it is not a database URL."""
        return cls(make_url(synchronous(database_url)), tuple(pragmas), options)

    @property
    def kind(self) -> Kind:
        return cast(Kind, self.url.get_backend_name())

    @property
    def path(self) -> str | None:
        """SQLite's file; None for PostgreSQL."""
        return self.url.database if self.kind == "sqlite" else None

    @property
    def shown(self) -> str:
        """The URL with its password hidden."""
        return self.url.render_as_string(hide_password=True)

    @property
    def unavailable(self) -> tuple[type[Exception], ...]:
        """The driver's errors that may be temporary: no server, a lock or idle timeout, a full disk."""
        driver = DRIVERS[self.kind]
        return driver.OperationalError, driver.InterfaceError, driver.InternalError

    def connect(self) -> Connection:
        """Opens a connection. Raises the driver's errors."""
        where, given = self.url.get_dialect()().create_connect_args(self.url)
        if self.kind == "sqlite":
            given["isolation_level"] = None
        else:
            given["autocommit"] = True
            if self.options:
                given["options"] = self.options
        made = Connection(DRIVERS[self.kind].connect(*where, **given), self.kind)
        try:
            for pragma in self.pragmas if self.kind == "sqlite" else ():
                made.say(f"PRAGMA {pragma}")
        except BaseException:
            made.close()
            raise
        return made


class PersistentConnection:
    """Runs transactions on a connection that it opens when needed and replaces when lost. Belongs to one thread.

    Args:
        begin: commands that begin a transaction.
        urgent: whether to retry every millisecond while the database is locked. SQLite's own retries become less
            frequent over time, so later callers may go first.
    """

    def __init__(self, database: Database, *begin: str, urgent: bool = False) -> None:
        self._database = database
        self._begin = begin
        self._urgent = urgent
        self._connection: Connection | None = None

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` in a transaction and commits. Returns its result; raises its error and the driver's errors."""
        connection = self._begun()
        try:
            result = work(connection)
            connection.say("COMMIT")
        except BaseException:
            self._undo(connection)
            raise
        return result

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _begun(self) -> Connection:
        while True:
            fresh = self._connection is None
            connection = self._connection or self._opened()
            try:
                for words in self._begin:
                    _patiently(connection, words) if self._urgent else connection.say(words)
                return connection
            except BaseException:  # on PostgreSQL the transaction may have begun before the error
                lost = connection.lost
                self._drop(connection)
                if fresh or not lost:
                    raise

    def _opened(self) -> Connection:
        self._connection = self._database.connect()
        if self._urgent:
            self._connection.say("PRAGMA busy_timeout=0")
        return self._connection

    def _undo(self, connection: Connection) -> None:
        try:
            connection.say("ROLLBACK")
        except Exception:  # the connection is lost, and with it the transaction
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._connection = None
        connection.close()


def first_line(error: Exception) -> str:
    """First line of an error's message, or the error's type if it has none. Drivers add lines with the statement."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _patiently(connection: Connection, words: str) -> None:
    """Retries the command while the database is locked. Raises the driver's error after ``URGENT_S``."""
    deadline = time.monotonic() + URGENT_S
    while True:
        try:
            return connection.say(words)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.001)
