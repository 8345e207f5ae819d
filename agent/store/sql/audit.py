"""Audit records, as SQL statements on one connection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from agent.store.backend import AuditFilter, Head
from agent.store.rules.page import page
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.errors import InternalError
from flightloop.verdicts import AuditRecord
from guardrails.audit_check import Unreadable

MOST = 2**62
"""Larger sequence numbers, and texts in their place, are not the platform's."""
_ROW = "tenant_id, seq, run_id, act, actor_id, actor, document"
_COLUMNS = _ROW.split(", ")
LAST = Statement(f"SELECT {_ROW} FROM audit WHERE tenant_id = :tenant_id AND seq < {MOST} ORDER BY seq DESC LIMIT 1")
ADD = Statement.insert("audit", *_COLUMNS)
PAGE = Statement(
    f"""
    SELECT {_ROW} FROM audit
    WHERE tenant_id = :tenant_id [AND seq > :after] [AND run_id = :run_id] [AND act = :act]
      [AND (actor = :actor OR actor_id = :actor)]
    ORDER BY seq LIMIT :most
    """
)
TENANTS = Statement(
    """
    WITH RECURSIVE found(tenant_id) AS (
        SELECT min(tenant_id) FROM audit
        UNION ALL
        SELECT (SELECT min(audit.tenant_id) FROM audit WHERE audit.tenant_id > found.tenant_id)
        FROM found WHERE found.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM found WHERE tenant_id IS NOT NULL
    """
)
"""Jumps from tenant to tenant in the primary key; DISTINCT would read all records."""


class SqlAudit:
    """The part of ``agent.store.backend.Transaction`` that stores audit records."""

    _connection: Connection

    def audit_head(self, tenant_id: str) -> Head | None:
        found = self._connection.row(LAST, tenant_id=tenant_id)
        return _head(found) if found else None

    def add_audit(self, records: Sequence[AuditRecord]) -> None:
        self._connection.write_all(ADD, [_row(record) for record in records])

    def audit(self, tenant_id: str, wanted: AuditFilter, after: int, limit: int) -> list[AuditRecord]:
        found = []
        for row in self._rows(tenant_id, wanted, after, limit):
            if isinstance(record := _record(row), Unreadable):
                raise InternalError(f"audit record {record.seq} can't be read: run python -m agent audit verify")
            found.append(record)
        return found

    def stored_audit(self, tenant_id: str, after: int | None, limit: int) -> list[AuditRecord | Unreadable]:
        return [_record(row) for row in self._rows(tenant_id, AuditFilter(), after, limit)]

    def audit_tenants(self) -> list[str]:
        return self._connection.column(TENANTS)

    def _rows(self, tenant_id: str, wanted: AuditFilter, after: int | None, limit: int) -> list[tuple[Any, ...]]:
        query = {"run_id": wanted.run_id, "act": wanted.act and wanted.act.value, "actor": wanted.actor}
        with self._connection.each(PAGE, tenant_id=tenant_id, **query, after=after, most=limit) as rows:
            return page(rows, limit, lambda row: len(str(row[-1])))[0]


def _row(record: AuditRecord) -> dict[str, Any]:
    return {
        "tenant_id": record.tenant_id,
        "seq": record.seq,
        "run_id": record.run_id,
        "act": record.act.value,
        "actor_id": record.actor and record.actor.id,
        "actor": record.actor and record.actor.name,
        "document": _document(record),
    }


def _document(record: AuditRecord) -> str:
    """JSON of the fields that have no column, without defaults, because every step of a run writes a record."""
    columns: dict[str, Any] = {"tenant_id": True, "seq": True, "run_id": True, "act": True}
    return record.model_dump_json(exclude={**columns, "actor": {"id", "name"}}, exclude_defaults=True)


def _record(row: Sequence[Any]) -> AuditRecord | Unreadable:
    tenant_id, seq, run_id, act, actor_id, actor, document = row
    number = seq if isinstance(seq, int) else None
    try:
        if number is None or not all(isinstance(one, str | None) for one in (run_id, act, actor_id, actor, document)):
            raise ValueError("a column has a value of another type")
        fields = {**json.loads(document), "tenant_id": tenant_id, "seq": seq, "run_id": run_id, "act": act}
        if actor_id is not None or actor is not None:
            fields["actor"] = {**fields.get("actor", {}), "id": actor_id, "name": actor}
        record = AuditRecord.model_validate(fields)
    except (ValueError, TypeError) as error:
        return Unreadable(number, (str(error).splitlines() or [""])[0])
    written = _document(record) == document
    if not written and (record.key_id is not None or not _within(json.loads(document), record.model_dump(mode="json"))):
        return Unreadable(number, "its document is not as it was written")
    return record


def _within(part: Any, whole: Any) -> bool:
    """Whether JSON data has nothing that ``whole`` has not. Earlier versions wrote other defaults."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and _within(one, whole[key]) for key, one in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(_within, part, whole))
    return bool(part == whole)


def _head(row: Sequence[Any]) -> Head:
    """The end of the log. An unreadable record must not prevent further ones, an emergency stop's least of all."""
    seq, document = int(row[1]), row[-1]
    try:
        fields = json.loads(document)
        return Head(seq, str(fields["sha256"]), fields.get("key_id"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Head(seq, hashlib.sha256(repr(row).encode()).hexdigest())
