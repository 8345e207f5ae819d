"""Digests of audit records: those of earlier versions are still the same, and every field counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flightloop.acts import Act, Actor, ActorKind
from flightloop.audit_chain import GENESIS, digest, fault_of
from flightloop.verdicts import Action, AuditRecord, Passed, Span, Stage, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = Verdict(action=Action.ALLOW, rail="terms", stage=Stage.INPUT)
PII = Verdict(
    action=Action.REDACT,
    rail="pii",
    stage=Stage.FINAL,
    reason="fünf",
    spans=[Span(start=1, end=2, label="email")],
    scores={"toxicity": 0.1},
)


def test_records_of_the_first_version_keep_their_digests() -> None:
    """Computed by the version that knew verdicts only."""
    plain = AuditRecord(seq=1, at=AT, tenant_id="default", verdict=TERMS, previous_sha256=GENESIS, sha256="")
    full = AuditRecord(
        seq=7,
        at=AT,
        tenant_id="t1",
        run_id="r1",
        step=3,
        call_id="c1",
        verdict=PII,
        others=[TERMS],
        passed=Passed(policy_sha256="p", milliseconds={"input/terms": [0.25]}),
        previous_sha256="1" * 64,
        sha256="",
    )
    assert digest(plain) == "21f417fb90feadd4614e1654d0812caaa3556d39d025fc8109b95a5ff3a283b5"
    assert digest(full) == "b8feb56c0c326ef6684cfa858a839912114a989f8a788f0eaf11cc8f7e15de46"


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 3},
        {"at": AT + timedelta(microseconds=1)},
        {"tenant_id": "t2"},
        {"run_id": "r2"},
        {"step": 0},
        {"call_id": ""},
        {"verdict": TERMS},
        {"others": [TERMS]},
        {"passed": Passed(milliseconds={})},
        {"previous_sha256": "2" * 64},
        {"act": Act.LIFT},
        {"actor": None},
        {"actor": Actor(kind=ActorKind.KEY, id="k2", name="ann")},
        {"actor": Actor(kind=ActorKind.COMMAND, id="k1", name="ann")},
        {"actor": Actor(kind=ActorKind.KEY, id="k1", name="bob")},
        {"object": None},
        {"object": ""},
        {"details": {}},
        {"details": {"scope": "all", "more": None}},
        {"key_id": None},
        {"key_id": "b"},
    ],
)
def test_every_field_changes_the_digest(change: dict[str, Any]) -> None:
    record = AuditRecord(
        seq=2,
        at=AT,
        tenant_id="t1",
        previous_sha256="1" * 64,
        sha256="",
        act=Act.STOP,
        actor=Actor(kind=ActorKind.KEY, id="k1", name="ann"),
        object="int_1",
        details={"scope": "all"},
        key_id="a",
    )
    assert digest(record.model_copy(update=change)) != digest(record)
    assert digest(AuditRecord.model_validate_json(record.model_dump_json())) == digest(record)


def test_a_fault_says_what_is_wrong() -> None:
    def record(seq: int, before: AuditRecord | None) -> AuditRecord:
        previous = before.sha256 if before else GENESIS
        draft = AuditRecord(seq=seq, at=AT, tenant_id="t", verdict=PII, previous_sha256=previous, sha256="")
        return draft.model_copy(update={"sha256": digest(draft)})

    first = record(1, None)
    second = record(2, first)
    assert (fault_of(first, None), fault_of(second, first)) == (None, None)
    assert fault_of(second, None) == "record 1 is missing"
    assert fault_of(record(9, first), first) == "records 2 to 8 are missing"
    assert fault_of(first, first) == "is out of order"
    assert fault_of(record(2, None), first) == "does not continue the record before it"
    assert fault_of(second.model_copy(update={"step": 5}), first) == (
        "was changed: its digest is not that of its content"
    )
