"""Erases texts of audit records, so that the log still verifies.

The record keeps its digest and seal, and so the chain. Its digest can't be recomputed any more, since it covers the
erased texts. A second seal covers that digest and what is left, so that only whoever has a key can erase.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flightloop.audit_chain import digest
from flightloop.erasure import ERASED, erased_verdict
from flightloop.verdicts import AuditRecord
from guardrails.audit_keys import AuditKey

PURPOSE = "erased audit record"
"""Purpose of the second seal."""
WORDS = ("reason", "clear_reason")
"""Details of acts that people have written."""


def erased(
    record: AuditRecord, key: AuditKey | None, subject: str | None = None, names: Collection[str] = ()
) -> AuditRecord:
    """The record without texts; the same one if it has none.

    Args:
        key: seals what is left; None: the log has no keys.
        subject: id of a subject that stops may name.
        names: ids of API keys whose names are erased, too.
    """
    left = record.model_copy(update=_left(record, subject, names))
    if digest(left) == digest(record):
        return record
    left = left.model_copy(update={"erased": True, "erased_key_id": key.id if key else None, "erased_mac": None})
    return left.model_copy(update={"erased_mac": key.mac(PURPOSE, _text(left)) if key else None})


def is_erasure_of(record: AuditRecord, key: AuditKey) -> bool:
    """Whether this key has sealed what is left of a record."""
    return key.signed(record.erased_mac, PURPOSE, _text(record))


def _text(record: AuditRecord) -> str:
    return f"{record.sha256}:{digest(record)}"


def _left(record: AuditRecord, subject: str | None, names: Collection[str]) -> dict[str, Any]:
    details = {name: ERASED if name in WORDS and value else value for name, value in record.details.items()}
    if subject is not None and details.get("scope") == "subject" and details.get("target") == subject:
        details["target"] = ERASED
    if record.object in names and "name" in details:
        details["name"] = ERASED
    left: dict[str, Any] = {
        "verdict": record.verdict and erased_verdict(record.verdict),
        "others": list(map(erased_verdict, record.others)),
        "details": details,
    }
    if record.actor is not None and record.actor.id in names:
        left["actor"] = record.actor.model_copy(update={"name": ERASED})
    return left
