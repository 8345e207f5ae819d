"""Audit records, as SQL statements on one connection."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from agent.store.backend import AuditFilter, Head
from agent.store.rules.page import page
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.errors import InternalError
from flightloop.verdicts import AuditRecord
from guardrails.audit_check import Unreadable

_SHA256 = re.compile("[0-9a-f]{64}")
MOST = 2**62
"""Larger sequence numbers, and texts in their place, are not the platform's."""
_ROW = "tenant_id, seq, run_id, act, actor_id, actor, document"
_COLUMNS = _ROW.split(", ")
LAST_OF = f"SELECT {{}} FROM audit WHERE tenant_id = :tenant_id AND seq < {MOST} ORDER BY seq DESC LIMIT 1"
LAST = Statement(LAST_OF.format(_ROW))
LAST_SEQ = Statement(LAST_OF.format("seq, NULL"))
"""For a record whose texts can't be read at all, because they are not UTF-8."""
FREE = Statement(
    f"""
    SELECT {_ROW} FROM audit WHERE tenant_id = :tenant_id AND seq < {MOST - 1} AND NOT EXISTS (
        SELECT 1 FROM audit AS next WHERE next.tenant_id = audit.tenant_id AND next.seq = audit.seq + 1
    )
    ORDER BY seq DESC LIMIT 1
    """
)
"""The last record that is followed by a free number."""
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
        try:
            head = _head(self._connection.row(LAST, tenant_id=tenant_id))
            if head is not None and head.seq >= MOST - 1:  # somebody added it, to leave no number
                head = _head(self._connection.row(FREE, tenant_id=tenant_id))
        except Exception:
            found = self._connection.row(LAST_SEQ, tenant_id=tenant_id)
            head = _head((tenant_id, *found)) if found else None
        return head

    def add_audit(self, records: Sequence[AuditRecord]) -> None:
        self._connection.write_all(ADD, [audit_row(record) for record in records])

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


def audit_row(record: AuditRecord) -> dict[str, Any]:
    """Values of a record's columns, by name."""
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
    number = row[1] if isinstance(row[1], int) else None
    try:
        record = _parsed(row)
        document, written = row[-1], _document(record)
        if written != document and (
            record.key_id is not None or not _within(json.loads(document), record.model_dump(mode="json"))
        ):
            return Unreadable(number, "its document is not as it was written")
    except Exception as error:  # such as RecursionError
        return Unreadable(number, (str(error).splitlines() or [""])[0])
    return record


def _parsed(row: Sequence[Any]) -> AuditRecord:
    tenant_id, seq, run_id, act, actor_id, actor, document = row
    texts = (run_id, act, actor_id, actor, document)
    if not isinstance(seq, int) or not all(isinstance(one, str | None) for one in texts):
        raise ValueError("a column has a value of another type")
    fields = {**json.loads(document), "tenant_id": tenant_id, "seq": seq, "run_id": run_id, "act": act}
    if actor_id is not None or actor is not None:
        fields["actor"] = {**fields.get("actor", {}), "id": actor_id, "name": actor}
    return AuditRecord.model_validate(fields)


def _within(part: Any, whole: Any) -> bool:
    """Whether JSON data has nothing that ``whole`` has not. Earlier versions wrote other defaults."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and _within(one, whole[key]) for key, one in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) == len(whole) and all(map(_within, part, whole))
    return bool(part == whole)


def _head(row: Sequence[Any] | None) -> Head | None:
    """The end of the log. An unreadable record must not prevent further ones, an emergency stop's least of all."""
    if row is None:
        return None
    seq, document = max(int(row[1]), 0), row[-1]
    try:
        fields = json.loads(document)
        sha256, key_id = fields["sha256"], fields.get("key_id")
        if not _SHA256.fullmatch(sha256) or not isinstance(key_id, str | None):
            raise ValueError("not as it was written")
        return Head(seq, sha256, key_id)
    except Exception:  # such as RecursionError
        return Head(seq, hashlib.sha256(repr(row).encode()).hexdigest())
