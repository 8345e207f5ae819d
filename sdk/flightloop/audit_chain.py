"""Digests of audit records. They need no secret, so every reader of the log can recompute them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import Any

from flightloop.acts import Act
from flightloop.verdicts import AuditRecord

GENESIS = "0" * 64
"""``previous_sha256`` of the first record."""


def digest(record: AuditRecord) -> str:
    """SHA-256, in hex, of all fields of a record except ``sha256`` itself and ``mac``.

    Times are converted to UTC (naive ones count as UTC), so that the hash doesn't depend on a database's format. Fields
    that later versions added are left out while they have their default: older records keep their hash.
    """
    moment = record.at.replace(tzinfo=UTC) if record.at.tzinfo is None else record.at.astimezone(UTC)
    fields: dict[str, Any] = {
        "previous_sha256": record.previous_sha256,
        "seq": record.seq,
        "at": moment.isoformat(timespec="microseconds"),
        "tenant_id": record.tenant_id,
        "run_id": record.run_id,
        "step": record.step,
        "call_id": record.call_id,
        "verdict": record.verdict and record.verdict.model_dump(mode="json"),
    }
    if record.others:
        fields["others"] = [other.model_dump(mode="json") for other in record.others]
    if record.passed is not None:
        fields["passed"] = record.passed.model_dump(mode="json")
    if record.act is not Act.VERDICT:
        fields["act"] = record.act.value
    if record.actor is not None:
        fields["actor"] = record.actor.model_dump(mode="json")
    if record.object is not None:
        fields["object"] = record.object
    if record.details:
        fields["details"] = record.details
    if record.key_id is not None:
        fields["key_id"] = record.key_id
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def fault_of(record: AuditRecord, before: AuditRecord | None) -> str | None:
    """Why a record does not continue the one before it, or is not what was recorded; None if it is in order.

    Of a record whose texts were erased, only whoever has the audit keys can tell whether the rest was changed.

    Args:
        before: the record read before it; None: ``record`` should be the first of the log.
    """
    expected = before.seq + 1 if before else 1
    if record.seq > expected:
        last = record.seq - 1
        return f"record {expected} is missing" if last == expected else f"records {expected} to {last} are missing"
    if record.seq < expected:
        return "is out of order"
    if record.previous_sha256 != (before.sha256 if before else GENESIS):
        return "does not continue the record before it"
    if not record.erased and digest(record) != record.sha256:
        return "was changed: its digest is not that of its content"
    return None
