"""The audit log's hash chain: each record is sealed together with its predecessor's seal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from flightloop.verdicts import Action, AuditRecord, Stage, Verdict

GENESIS = "0" * 64
"""``previous_sha256`` of the first record."""
REASONS = 8
"""Different reasons to allow that a record keeps of one rail."""


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
) -> str:
    """The seal of a record with these fields after that predecessor. Hex.

    The time counts in UTC (a naive one is taken as UTC), so that a database may keep it either way.
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
    if others:  # left out where there are none, as before there could be any
        fields["others"] = [other.model_dump(mode="json") for other in others]
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
        previous_sha256=before,
        sha256=digest,
    )


def verify(records: Iterable[AuditRecord], after: AuditRecord | None = None) -> int | None:
    """The ``seq`` of the first record that was changed, or before which one is missing; None if all is well.

    Args:
        records: in order, the whole chain, or what follows ``after``.
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
        )
        if (record.seq, record.previous_sha256, record.sha256) != (
            expected.seq,
            expected.previous_sha256,
            expected.sha256,
        ):
            return record.seq
        after = record
    return None


def together(verdicts: Sequence[Verdict]) -> tuple[Verdict, list[Verdict]]:
    """Verdicts of one request as one record's: the severest, and the others.

    Those that changed something stay as they are. Of those that allowed there is one for each stage and rail: the
    highest scores, the labels of all, the milliseconds of all.
    """
    assert verdicts
    changed = [verdict for verdict in verdicts if verdict.action is not Action.ALLOW]
    passed: dict[tuple[Stage, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.action is Action.ALLOW:
            passed.setdefault((verdict.stage, verdict.rail, verdict.policy_sha256), []).append(verdict)
    kept = [*changed, *map(_counted, passed.values())]
    severest = max(kept, key=lambda verdict: verdict.action.severity)  # the first of them
    return severest, [verdict for verdict in kept if verdict is not severest]


def _counted(passed: Sequence[Verdict]) -> Verdict:
    first = passed[0]
    if len(passed) == 1:
        return first
    scores: dict[str, float] = {}
    for verdict in passed:
        for name, score in verdict.scores.items():
            scores[name] = max(score, scores.get(name, 0.0))
    reasons = list(dict.fromkeys(verdict.reason for verdict in passed if verdict.reason))[:REASONS]
    return first.model_copy(
        update={
            "reason": "; ".join([f"allowed {len(passed)} texts", *reasons]),
            "spans": [],
            "scores": scores,
            "labels": list(dict.fromkeys(label for verdict in passed for label in verdict.labels)),
            "milliseconds": round(sum(verdict.milliseconds for verdict in passed), 3),
        }
    )
