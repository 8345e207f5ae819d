from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.verdicts import Action, AuditRecord, Span, Stage, Verdict
from guardrails.audit import GENESIS, sealed, verify

START = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def chain_of(count):
    records, last = [], None
    for number in range(count):
        verdict = Verdict(
            action=Action.REDACT,
            rail="pii",
            stage=Stage.FINAL,
            reason="fünf",
            spans=[Span(start=1, end=2, label="email")],
            scores={"toxicity": 0.1},
        )
        last = sealed(
            last, at=START + timedelta(seconds=number), tenant_id="t1", run_id="r1", step=number, verdict=verdict
        )
        records.append(last)
    return records


def test_a_chain_verifies_whole_and_in_parts_and_after_a_round_trip():
    records = chain_of(5)
    assert records[0].previous_sha256 == GENESIS
    assert verify(records) is None
    assert verify(records[2:], after=records[1]) is None
    assert verify([AuditRecord.model_validate_json(record.model_dump_json()) for record in records]) is None
    assert verify([]) is None


def test_the_time_counts_in_utc():
    elsewhere = [
        record.model_copy(update={"at": record.at.astimezone(timezone(timedelta(hours=2)))}) for record in chain_of(3)
    ]
    naive = [record.model_copy(update={"at": record.at.replace(tzinfo=None)}) for record in chain_of(3)]
    assert verify(elsewhere) is None
    assert verify(naive) is None


@pytest.mark.parametrize(
    "change",
    [
        {"at": START + timedelta(days=1)},
        {"tenant_id": "t2"},
        {"run_id": None},
        {"step": 99},
        {"call_id": "c9"},
        {"seq": 99},
        {"previous_sha256": "1" * 64},
        {"sha256": "1" * 64},
        {"verdict": Verdict(action=Action.ALLOW, rail="pii", stage=Stage.FINAL)},
    ],
)
def test_every_changed_field_is_noticed(change):
    records = chain_of(4)
    records[2] = records[2].model_copy(update=change)
    assert verify(records) == records[2].seq


@given(st.integers(2, 8), st.data())
def test_missing_doubled_and_swapped_records_are_noticed(count, data):
    records = chain_of(count)
    at = data.draw(st.integers(0, count - 2))
    assert verify(records[:at] + records[at + 1 :]) == records[at + 1].seq
    assert verify([*records[: at + 1], *records[at:]]) == records[at].seq
    swapped = list(records)
    swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
    assert verify(swapped) == swapped[at].seq
