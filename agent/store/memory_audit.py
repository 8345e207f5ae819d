"""Audit records and policies of the in-memory backend."""

from __future__ import annotations

from collections.abc import Sequence

from agent.store.backend import AuditContext, AuditFilter, Head
from agent.store.rules.page import page
from flightloop.verdicts import AuditRecord
from guardrails.audit_check import Unreadable


class MemoryAudit:
    """The part of ``agent.store.backend.Transaction`` that stores audit records and the texts of policies."""

    audit_context: AuditContext

    def __init__(self) -> None:
        super().__init__()
        self._audit: dict[str, list[AuditRecord]] = {}
        self._policies: dict[str, str] = {}

    def audit_head(self, tenant_id: str) -> Head | None:
        chain = self._audit.get(tenant_id)
        return Head(chain[-1].seq, chain[-1].sha256, chain[-1].key_id) if chain else None

    def add_audit(self, records: Sequence[AuditRecord]) -> None:
        for record in records:
            self._audit.setdefault(record.tenant_id, []).append(record)

    def audit(self, tenant_id: str, wanted: AuditFilter, after: int, limit: int) -> list[AuditRecord]:
        chain = (record for record in self._audit.get(tenant_id, []) if record.seq > after)
        return page((one for one in chain if _matches(one, wanted)), limit, _length)[0]

    def stored_audit(self, tenant_id: str, after: int | None, limit: int) -> list[AuditRecord | Unreadable]:
        return [*self.audit(tenant_id, AuditFilter(), after or 0, limit)]

    def audit_tenants(self) -> list[str]:
        return sorted(self._audit)

    def policy_text(self, sha256: str) -> str | None:
        return self._policies.get(sha256)

    def add_policy(self, sha256: str, text: str) -> None:
        self._policies[sha256] = text

    def policies(self) -> dict[str, str]:
        return dict(self._policies)


def _matches(record: AuditRecord, wanted: AuditFilter) -> bool:
    actor = record.actor
    return (
        wanted.run_id in (None, record.run_id)
        and wanted.act in (None, record.act)
        and (wanted.actor is None or (actor is not None and wanted.actor in (actor.id, actor.name)))
    )


def _length(record: AuditRecord) -> int:
    return len(record.model_dump_json())
