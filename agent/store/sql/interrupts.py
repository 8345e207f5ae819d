"""Interrupts and their epoch, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from agent.store.sql import tables as t
from flightloop.runs import Interrupt

_OF_A_RUN = t.interrupts.c.document.contains('"scope":"run"')
"""No text contains it: its quotes are escaped in JSON."""


class SqlInterrupts:
    """The part of ``agent.store.backend.Transaction`` that the emergency stop is kept with."""

    _connection: Connection

    def epoch(self) -> int:
        return int(self._connection.execute(select(t.epochs.c.epoch)).scalar_one())

    def next_epoch(self) -> int:
        self._connection.execute(update(t.epochs).values(epoch=t.epochs.c.epoch + 1))
        return self.epoch()

    def interrupt(self, interrupt_id: str) -> Interrupt | None:
        query = select(t.interrupts.c.document).where(t.interrupts.c.id == interrupt_id)
        document = self._connection.execute(query).scalar_one_or_none()
        return None if document is None else Interrupt.model_validate_json(document)

    def add_interrupt(self, interrupt: Interrupt) -> None:
        values = {"tenant_id": interrupt.tenant_id, **_interrupt_values(interrupt)}
        self._connection.execute(insert(t.interrupts).values(values))

    def save_interrupt(self, interrupt: Interrupt) -> None:
        where = t.interrupts.c.id == interrupt.id
        self._connection.execute(update(t.interrupts).where(where).values(_interrupt_values(interrupt)))

    def forget_interrupts(self, tenant_id: str, kept: int) -> list[Interrupt]:
        interrupts = t.interrupts.c
        past = and_(interrupts.tenant_id == tenant_id, or_(interrupts.cleared_at.is_not(None), _OF_A_RUN))
        oldest = select(interrupts.number).where(past).order_by(interrupts.number.desc()).offset(kept - 1).limit(1)
        gone = and_(past, interrupts.number < oldest.scalar_subquery())
        found = self._connection.execute(select(interrupts.number, interrupts.document).where(gone)).all()
        if found:
            self._connection.execute(delete(t.interrupts).where(interrupts.number.in_([number for number, _ in found])))
        return [Interrupt.model_validate_json(document) for _, document in found]

    def interrupts(self, tenant_id: str | None, cleared_after: datetime | None) -> list[Interrupt]:
        wanted: ColumnElement[bool] = t.interrupts.c.cleared_at.is_(None)
        if cleared_after is not None:
            wanted = or_(wanted, t.interrupts.c.cleared_at >= cleared_after.timestamp())
        query = select(t.interrupts.c.document).where(wanted).order_by(t.interrupts.c.number.desc())
        if tenant_id is not None:
            query = query.where(t.interrupts.c.tenant_id == tenant_id)
        return [Interrupt.model_validate_json(document) for (document,) in self._connection.execute(query)]

    def latched(self, tenant_id: str) -> int:
        interrupts = t.interrupts.c
        query = select(func.count()).where(interrupts.tenant_id == tenant_id, interrupts.cleared_at.is_(None))
        return int(self._connection.execute(query.where(~_OF_A_RUN)).scalar_one())


def _interrupt_values(interrupt: Interrupt) -> dict[str, Any]:
    return {
        "id": interrupt.id,
        "cleared_at": interrupt.cleared_at and interrupt.cleared_at.timestamp(),
        "document": interrupt.model_dump_json(),
    }
