"""Interrupts and their epoch, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.runs import Interrupt

OF_A_RUN = '%"scope":"run"%'
"""LIKE pattern of interrupts of single runs. Free text can't match, because JSON escapes its quotes."""
_PAST = "tenant_id = :tenant_id AND (cleared_at IS NOT NULL OR document LIKE :of_a_run)"
EPOCH = Statement("SELECT epoch FROM epochs")
RAISE_EPOCH = Statement("UPDATE epochs SET epoch = epoch + 1")
GET = Statement("SELECT document FROM interrupts WHERE id = :id")
ADD = Statement.insert("interrupts", "id", "tenant_id", "cleared_at", "document")
SAVE = Statement("UPDATE interrupts SET cleared_at = :cleared_at, document = :document WHERE id = :id")
LATEST = Statement(
    """
    SELECT document FROM interrupts
    WHERE (cleared_at IS NULL [OR cleared_at >= :cleared_after]) [AND tenant_id = :tenant_id]
    ORDER BY number DESC
    """
)
"""Active interrupts and recently cleared ones, newest first."""
PAST = Statement(
    f"""
    SELECT number, document FROM interrupts
    WHERE {_PAST} AND number < (
      SELECT number FROM interrupts WHERE {_PAST} ORDER BY number DESC LIMIT 1 OFFSET :newer
    )
    """
)
DROP = Statement("DELETE FROM interrupts WHERE number = :number")
COUNT_LATCHED = Statement(
    """
    SELECT COUNT(*) FROM interrupts
    WHERE tenant_id = :tenant_id AND cleared_at IS NULL AND document NOT LIKE :of_a_run
    """
)


class SqlInterrupts:
    """The part of ``agent.store.backend.Transaction`` that stores interrupts."""

    _connection: Connection

    def epoch(self) -> int:
        return int(self._connection.column(EPOCH)[0])

    def next_epoch(self) -> int:
        self._connection.write(RAISE_EPOCH)
        return self.epoch()

    def interrupt(self, interrupt_id: str) -> Interrupt | None:
        found = self._connection.row(GET, id=interrupt_id)
        return Interrupt.model_validate_json(found[0]) if found else None

    def add_interrupt(self, interrupt: Interrupt) -> None:
        self._connection.write(ADD, tenant_id=interrupt.tenant_id, **_values(interrupt))

    def save_interrupt(self, interrupt: Interrupt) -> None:
        self._connection.write(SAVE, **_values(interrupt))

    def forget_interrupts(self, tenant_id: str, kept: int) -> list[Interrupt]:
        found = self._connection.rows(PAST, tenant_id=tenant_id, of_a_run=OF_A_RUN, newer=kept - 1)
        self._connection.write_all(DROP, [{"number": number} for number, _ in found])
        return [Interrupt.model_validate_json(document) for _, document in found]

    def interrupts(self, tenant_id: str | None, cleared_after: datetime | None) -> list[Interrupt]:
        since = cleared_after and cleared_after.timestamp()
        found = self._connection.column(LATEST, tenant_id=tenant_id, cleared_after=since)
        return [Interrupt.model_validate_json(document) for document in found]

    def latched(self, tenant_id: str) -> int:
        return int(self._connection.column(COUNT_LATCHED, tenant_id=tenant_id, of_a_run=OF_A_RUN)[0])


def _values(interrupt: Interrupt) -> dict[str, Any]:
    return {
        "id": interrupt.id,
        "cleared_at": interrupt.cleared_at and interrupt.cleared_at.timestamp(),
        "document": interrupt.model_dump_json(),
    }
