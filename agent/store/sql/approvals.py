"""Approvals, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent.store.rules.page import page
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.runs import Approval

_OWN_PENDING = "run_id = :run_id AND CASE status WHEN 'pending' THEN TRUE ELSE FALSE END"
"""The CASE prevents SQLite from using the index on the status, which would read pending approvals of all tenants."""
GET = Statement("SELECT tenant_id, document FROM approvals WHERE id = :id")
ADD = Statement.insert("approvals", "id", "tenant_id", "run_id", "status", "expires_at", "document")
SAVE = Statement("UPDATE approvals SET status = :status, expires_at = :expires_at, document = :document WHERE id = :id")
PAGE = Statement(
    """
    SELECT document FROM approvals
    WHERE tenant_id = :tenant_id [AND status = :status] [AND run_id = :run_id]
      [AND number < (SELECT number FROM approvals WHERE id = :after)]
    ORDER BY number DESC LIMIT :most
    """
)
COUNT = Statement("SELECT COUNT(*) FROM approvals WHERE tenant_id = :tenant_id AND status = :status")
OF_RUN = Statement("SELECT document FROM approvals WHERE run_id = :run_id ORDER BY number")
COUNT_PENDING = Statement(f"SELECT COUNT(*) FROM approvals WHERE {_OWN_PENDING}")
PENDING = Statement(f"SELECT document FROM approvals WHERE {_OWN_PENDING} ORDER BY number")
OVERDUE = Statement(
    """
    SELECT document FROM approvals WHERE status = 'pending' AND expires_at <= :now
    ORDER BY expires_at, number LIMIT :most
    """
)
"""Sorted in the order of the index that it uses."""


class SqlApprovals:
    """The part of ``agent.store.backend.Transaction`` that stores approvals."""

    _connection: Connection

    def approval(self, approval_id: str) -> tuple[str, Approval] | None:
        found = self._connection.row(GET, id=approval_id)
        return None if found is None else (found[0], Approval.model_validate_json(found[1]))

    def add_approval(self, tenant_id: str, approval: Approval) -> None:
        self._connection.write(ADD, tenant_id=tenant_id, run_id=approval.run_id, **_values(approval))

    def save_approval(self, approval: Approval) -> None:
        self._connection.write(SAVE, **_values(approval))

    def page_approvals(
        self, tenant_id: str, status: str | None, run_id: str | None, after: str | None, limit: int
    ) -> tuple[list[Approval], bool]:
        query: dict[str, Any] = {"tenant_id": tenant_id, "status": status, "run_id": run_id, "after": after}
        with self._connection.each(PAGE, **query, most=limit + 1) as rows:
            found, more = page((document for (document,) in rows), limit, len)
        return [Approval.model_validate_json(document) for document in found], more

    def count_approvals(self, tenant_id: str, status: str) -> int:
        return int(self._connection.column(COUNT, tenant_id=tenant_id, status=status)[0])

    def run_approvals(self, run_id: str) -> list[Approval]:
        return self._approvals(OF_RUN, run_id=run_id)

    def count_pending(self, run_id: str) -> int:
        return int(self._connection.column(COUNT_PENDING, run_id=run_id)[0])

    def pending_approvals(self, run_id: str) -> list[Approval]:
        return self._approvals(PENDING, run_id=run_id)

    def overdue_approvals(self, now: datetime, limit: int) -> list[Approval]:
        return self._approvals(OVERDUE, now=now.timestamp(), most=limit)

    def _approvals(self, query: Statement, **given: Any) -> list[Approval]:
        return [Approval.model_validate_json(document) for document in self._connection.column(query, **given)]


def _values(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "status": approval.status,
        "expires_at": approval.expires_at.timestamp(),
        "document": approval.model_dump_json(),
    }
