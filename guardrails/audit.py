"""Hash chain of the audit log: each record's hash includes the hash of the record before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from flightloop.verdicts import AuditRecord, Passed, Verdict

GENESIS = "0" * 64
"""``previous_sha256`` of the first record."""


def seal(
    previous_sha256: str,
    *,
    seq: int,
    at: datetime,
    tenant_id: str,
    run_id: str | None,
    step: int | None,
    call_id: str | None,
    verdict: Verdict,
    others: Sequence[Verdict] = (),
    passed: Passed | None = None,
) -> str:
    """Hash of a record with these fields, in hex.

    Times are converted to UTC (naive ones count as UTC), so that the hash doesn't depend on a database's format.
    """
    moment = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    fields = {
        "previous_sha256": previous_sha256,
        "seq": seq,
        "at": moment.isoformat(timespec="microseconds"),
        "tenant_id": tenant_id,
        "run_id": run_id,
        "step": step,
        "call_id": call_id,
        "verdict": verdict.model_dump(mode="json"),
    }
    if others:  # left out when empty: records older than this field keep their hash
        fields["others"] = [other.model_dump(mode="json") for other in others]
    if passed is not None:
        fields["passed"] = passed.model_dump(mode="json")
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def sealed(
    previous: AuditRecord | None,
    *,
    at: datetime,
    tenant_id: str,
    run_id: str | None,
    step: int | None,
    verdict: Verdict,
    call_id: str | None = None,
    others: Sequence[Verdict] = (),
    passed: Passed | None = None,
) -> AuditRecord:
    """The next record of a chain; ``previous`` is None for the first."""
    seq = previous.seq + 1 if previous else 1
    before = previous.sha256 if previous else GENESIS
    digest = seal(
        before,
        seq=seq,
        at=at,
        tenant_id=tenant_id,
        run_id=run_id,
        step=step,
        call_id=call_id,
        verdict=verdict,
        others=others,
        passed=passed,
    )
    return AuditRecord(
        seq=seq,
        at=at,
        tenant_id=tenant_id,
        run_id=run_id,
        step=step,
        call_id=call_id,
        verdict=verdict,
        others=list(others),
        passed=passed,
        previous_sha256=before,
        sha256=digest,
    )


def verify(records: Iterable[AuditRecord], after: AuditRecord | None = None) -> int | None:
    """The ``seq`` of the first record that was changed or has a gap before it; None for an intact chain.

    Args:
        records: the whole chain in order, or the part that follows ``after``.
    """
    for record in records:
        expected = sealed(
            after,
            at=record.at,
            tenant_id=record.tenant_id,
            run_id=record.run_id,
            step=record.step,
            verdict=record.verdict,
            call_id=record.call_id,
            others=record.others,
            passed=record.passed,
        )
        if (record.seq, record.previous_sha256, record.sha256) != (
            expected.seq,
            expected.previous_sha256,
            expected.sha256,
        ):
            return record.seq
        after = record
    return None
