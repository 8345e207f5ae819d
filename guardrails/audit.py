"""Seals audit records: each one's digest covers the digest of the record before it, and a key signs the digest.

The digest (``flightloop.audit_chain``) needs no secret. The MAC over it needs a key that is not in the database, so
whoever can only write the database can't compute a changed chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from flightloop.acts import Act, Actor
from flightloop.audit_chain import GENESIS, digest, fault_of
from flightloop.verdicts import AuditRecord, Passed, Verdict
from guardrails.audit_keys import AuditKey


class Link(Protocol):
    """The fields of a record that the next one continues."""

    @property
    def seq(self) -> int: ...

    @property
    def sha256(self) -> str: ...


def sealed(
    previous: Link | None,
    *,
    at: datetime,
    tenant_id: str,
    run_id: str | None = None,
    step: int | None = None,
    verdict: Verdict | None = None,
    call_id: str | None = None,
    others: Sequence[Verdict] = (),
    passed: Passed | None = None,
    act: Act = Act.VERDICT,
    actor: Actor | None = None,
    object: str | None = None,
    details: dict[str, Any] | None = None,
    key: AuditKey | None = None,
) -> AuditRecord:
    """The next record of a chain.

    Args:
        previous: the record before it; None for the first.
        key: seals the record; None: the record has a digest only.
    """
    draft = AuditRecord(
        seq=previous.seq + 1 if previous else 1,
        at=at,
        tenant_id=tenant_id,
        run_id=run_id,
        step=step,
        call_id=call_id,
        verdict=verdict,
        others=list(others),
        passed=passed,
        previous_sha256=previous.sha256 if previous else GENESIS,
        sha256="",
        act=act,
        actor=actor,
        object=object,
        details=details or {},
        key_id=key.id if key else None,
    )
    sha256 = digest(draft)
    return draft.model_copy(update={"sha256": sha256, "mac": key.mac(RECORD, sha256) if key else None})


RECORD = "audit record"
"""Purpose of a record's MAC: a MAC made for something else is none of a record."""


def verify(records: Iterable[AuditRecord], after: AuditRecord | None = None) -> int | None:
    """The ``seq`` of the first record that was changed or has a gap before it; None for an intact chain.

    Checks digests only, not MACs (``guardrails.audit_check``).

    Args:
        records: the whole chain in order, or the part that follows ``after``.
    """
    for record in records:
        if fault_of(record, after) is not None:
            return record.seq
        after = record
    return None


__all__ = ["GENESIS", "RECORD", "sealed", "verify"]
