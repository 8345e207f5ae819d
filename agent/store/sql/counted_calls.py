"""Calls that count towards limits over time, as SQL statements on one connection."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from agent.store.backend import CountedCall
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement

ADD = Statement.insert("counted_calls", "tenant_id", "name", "run_id", "call_id", "at", "until", "amount")
SUM = Statement(
    """
    SELECT COALESCE(SUM(amount), 0) FROM counted_calls
    WHERE tenant_id = :tenant_id AND AMONG(name, :names) AND NOT (run_id = :run_id AND call_id = :call_id)
        [AND at > :since]
    """
)
OF_CALL = Statement("SELECT 1 FROM counted_calls WHERE run_id = :run_id AND call_id = :call_id LIMIT 1")
DROP = Statement("DELETE FROM counted_calls WHERE run_id = :run_id AND call_id = :call_id")
PRUNE = Statement(
    """
    DELETE FROM counted_calls WHERE number IN (
      SELECT number FROM counted_calls WHERE until <= :now ORDER BY until LIMIT :most
    )
    """
)


class SqlCountedCalls:
    """The part of ``agent.store.backend.Transaction`` that stores calls that count towards limits."""

    _connection: Connection

    def add_counted(self, counted: Sequence[CountedCall]) -> None:
        self._connection.write_all(ADD, [asdict(one) for one in counted])

    def sum_counted(self, tenant_id: str, names: Collection[str], since: float | None, besides: tuple[str, str]) -> int:
        run_id, call_id = besides
        given = {"tenant_id": tenant_id, "names": names, "since": since, "run_id": run_id, "call_id": call_id}
        return int(self._connection.column(SUM, **given)[0])

    def is_counted(self, run_id: str, call_id: str) -> bool:
        return self._connection.row(OF_CALL, run_id=run_id, call_id=call_id) is not None

    def drop_counted(self, run_id: str, call_id: str) -> None:
        self._connection.write(DROP, run_id=run_id, call_id=call_id)

    def prune_counted(self, now: float, most: int) -> None:
        self._connection.write(PRUNE, now=now, most=most)
