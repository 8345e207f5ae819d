"""Statements that every step of a run needs, without what SQLAlchemy does anew at each execution.

A statement is put together from the tables as all are, once for a dialect; its text then goes to the driver's own
cursor. That takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Connection

STYLES = {"sqlite": "named", "postgresql": "pyformat"}
"""How a driver wants parameters by name."""


class Prepared:
    """Values and errors are the driver's: SQLite, for one, has whole numbers for booleans."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}

    def rows(self, connection: Connection, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What a query finds, in the order of its columns. ``given``: its parameters by name."""
        return list(self.each(connection, given))

    def each(self, connection: Connection, given: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """The rows one by one."""
        text, own = self._compiled(connection)
        return iter(_cursor(connection).execute(text, {**own, **given}))

    def write(self, connection: Connection, given: Sequence[Mapping[str, Any]]) -> None:
        """Executes the statement once for each of ``given``."""
        text, own = self._compiled(connection)
        cursor = _cursor(connection)
        if len(given) == 1:  # PostgreSQL's driver makes a pipeline of many, whatever their number
            cursor.execute(text, {**own, **given[0]})
        else:
            cursor.executemany(text, [{**own, **each} for each in given])

    def _compiled(self, connection: Connection) -> tuple[str, dict[str, Any]]:
        """The text, and the parameters that the statement brings itself."""
        dialect = connection.dialect
        if dialect.name not in self._known:
            styled = type(dialect)(paramstyle=STYLES[dialect.name])  # type: ignore[call-arg]
            compiled = self._statement.compile(dialect=styled)
            own = {name: value for name, value in compiled.params.items() if value is not None}
            self._known[dialect.name] = str(compiled), own
        return self._known[dialect.name]


def _cursor(connection: Connection) -> Any:
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver.cursor()
