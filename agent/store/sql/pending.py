"""Approvals that nobody has decided yet, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, case, false, func, select, true

from agent.store.sql import tables as t
from agent.store.sql.prepared import Prepared
from flightloop.runs import Approval

_PENDING = t.approvals.c.status == "pending"
_OWN = (t.approvals.c.run_id == bindparam("of_run"), case((_PENDING, true()), else_=false()))
"""Hides the status from SQLite, which would look through everybody's pending ones by its index."""
_COUNT = Prepared(select(func.count()).where(*_OWN))


class SqlPending:
    """The part of ``agent.store.backend.Transaction`` that approvals are ended with."""

    _connection: Connection

    def count_pending(self, run_id: str) -> int:
        return int(_COUNT.rows(self._connection, {"of_run": run_id})[0][0])

    def pending_approvals(self, run_id: str) -> list[Approval]:
        return self._found(select(t.approvals.c.document).where(*_OWN).order_by(t.approvals.c.number), of_run=run_id)

    def overdue_approvals(self, now: datetime, limit: int) -> list[Approval]:
        approvals = t.approvals.c
        query = select(approvals.document).where(_PENDING, approvals.expires_at <= now.timestamp())
        return self._found(query.order_by(approvals.expires_at, approvals.number).limit(limit))  # as the index has them

    def _found(self, query: Select[Any], **given: str) -> list[Approval]:
        return [Approval.model_validate_json(document) for (document,) in self._connection.execute(query, given)]
