"""Approvals that nobody has decided yet, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from agent.store import tables as t
from flightloop.runs import Approval

_PENDING = t.approvals.c.status == "pending"


class SqlPending:
    """The part of ``agent.store.backend.Transaction`` that approvals are ended with."""

    _connection: Connection

    def count_pending(self, run_id: str) -> int:
        query = select(func.count()).where(t.approvals.c.run_id == run_id, _PENDING)
        return int(self._connection.execute(query).scalar_one())

    def pending_approvals(self, run_id: str) -> list[Approval]:
        return self._found(select(t.approvals.c.document).where(t.approvals.c.run_id == run_id, _PENDING))

    def overdue_approvals(self, now: datetime, limit: int) -> list[Approval]:
        overdue = t.approvals.c.expires_at <= now.timestamp()
        return self._found(select(t.approvals.c.document).where(_PENDING, overdue).limit(limit))

    def _found(self, query: Select[Any]) -> list[Approval]:
        rows = self._connection.execute(query.order_by(t.approvals.c.number))
        return [Approval.model_validate_json(document) for (document,) in rows]
