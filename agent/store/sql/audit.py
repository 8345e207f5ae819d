"""Audit records, as SQL statements on one connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from agent.store.rules.page import page
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.verdicts import AuditRecord

_ROW = "tenant_id, seq, run_id, document"
LAST = Statement(f"SELECT {_ROW} FROM audit WHERE tenant_id = :tenant_id ORDER BY seq DESC LIMIT 1")
ADD = Statement.insert("audit", *_ROW.split(", "))
PAGE = Statement(
    f"""
    SELECT {_ROW} FROM audit
    WHERE tenant_id = :tenant_id AND seq > :after [AND run_id = :run_id]
    ORDER BY seq LIMIT :most
    """
)


class SqlAudit:
    """The part of ``agent.store.backend.Transaction`` that stores audit records."""

    _connection: Connection

    def last_audit(self, tenant_id: str) -> AuditRecord | None:
        found = self._connection.row(LAST, tenant_id=tenant_id)
        return _record(found) if found else None

    def add_audit(self, records: Sequence[AuditRecord]) -> None:
        rows = [
            {"tenant_id": item.tenant_id, "seq": item.seq, "run_id": item.run_id, "document": _document(item)}
            for item in records
        ]
        self._connection.write_all(ADD, rows)

    def audit(self, tenant_id: str, run_id: str | None, after: int, limit: int) -> list[AuditRecord]:
        with self._connection.each(PAGE, tenant_id=tenant_id, run_id=run_id, after=after, most=limit) as rows:
            found, _ = page(rows, limit, lambda row: len(row[3]))
        return [_record(row) for row in found]


def _document(record: AuditRecord) -> str:
    """JSON of the fields that have no column, without defaults, because every step of a run writes a record."""
    return record.model_dump_json(exclude={"tenant_id", "seq", "run_id"}, exclude_defaults=True)


def _record(row: Sequence[Any]) -> AuditRecord:
    tenant_id, seq, run_id, document = row
    return AuditRecord.model_validate({**json.loads(document), "tenant_id": tenant_id, "seq": seq, "run_id": run_id})
