"""The conformance suite, second part: approvals, interrupts, audit, projections."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent.run.journal import Journal, Projection
from flightloop.errors import Conflict, NotFound
from flightloop.events import (
    ApprovalRequested,
    CallsDecided,
    Judged,
    ModelCall,
    RunCreated,
    RunEnded,
    RunResumed,
)
from flightloop.runs import Budget, RunStatus, StopReason
from flightloop.verdicts import Action, Stage, Verdict
from guardrails.audit import verify


def created(**fields: Any) -> RunCreated:
    return RunCreated.model_validate({"agent": "a", "session_id": "s", "input": "hi", "budget": Budget()} | fields)


def decided(**fields: Any) -> CallsDecided:
    return CallsDecided(calls=[], model=ModelCall(model="m"), **fields)


def judged(call_id: str | None = None) -> Judged:
    return Judged(verdict=Verdict(action=Action.ALLOW, rail="r", stage=Stage.INPUT), call_id=call_id)


def ended(status: RunStatus = RunStatus.SUCCEEDED, reason: StopReason = StopReason.ANSWERED) -> RunEnded:
    return RunEnded(status=status, stop_reason=reason)


def requested(journal_clock: Any, name: str, seconds: float = 60) -> ApprovalRequested:
    return ApprovalRequested(
        approval_id=name,
        call_id=f"call_{name}",
        tool="refund",
        arguments={"amount": 5},
        reason="it is a lot",
        args_sha256="a",
        policy_sha256="p",
        expires_at=journal_clock() + timedelta(seconds=seconds),
    )


# -- approvals ---


async def waiting_run(journal: Journal, clock: Any, *names: str) -> str:
    run = (await journal.create(created())).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    await journal.append(run.id, [requested(clock, name) for name in names], claim.lease)
    await journal.release(claim.lease, RunStatus.WAITING_APPROVAL)
    return run.id


async def test_a_run_waits_until_its_last_approval_is_decided(journal: Journal, clock: Any) -> None:
    run_id = await waiting_run(journal, clock, "one", "two")
    assert await journal.claim("w", 30) is None
    pending = await journal.approvals("default", status="pending")
    assert [approval.id for approval in pending.data] == ["two", "one"]
    assert pending.data[0].arguments == {"amount": 5}
    first = await journal.decide("default", "one", "approve", "ann", "fine")
    assert (first.status, first.decided_by, first.decision_reason) == ("approved", "ann", "fine")
    assert (await journal.get("default", run_id)).status == RunStatus.WAITING_APPROVAL
    await journal.decide("default", "two", "deny", "ann")
    assert (await journal.get("default", run_id)).status == RunStatus.QUEUED
    assert [event.type for event in await journal.events("default", run_id, after=5)] == [
        "approval.decided",
        "approval.decided",
        "run.resumed",
    ]
    assert [approval.status for approval in await journal.run_approvals(run_id)] == ["approved", "denied"]
    with pytest.raises(Conflict):
        await journal.decide("default", "one", "deny", "bob")


async def test_approvals_are_per_tenant_and_paged(journal: Journal, clock: Any) -> None:
    await waiting_run(journal, clock, "one", "two", "three")
    assert (await journal.approvals("other")).data == []
    with pytest.raises(NotFound):
        await journal.decide("other", "one", "approve", "eve")
    page = await journal.approvals("default", limit=2)
    assert ([item.id for item in page.data], page.has_more) == (["three", "two"], True)
    rest = await journal.approvals("default", after=page.next_after, limit=2)
    assert ([item.id for item in rest.data], rest.has_more) == (["one"], False)


async def test_approvals_of_one_run(journal: Journal, clock: Any) -> None:
    first, second = [await waiting_run(journal, clock, *names) for names in (("one", "two"), ("three",))]
    await journal.decide("default", "two", "deny", "ann")
    asked = {"first": first, "second": second, "none": "run_0"}
    found = {name: (await journal.approvals("default", run_id=run_id)).data for name, run_id in asked.items()}
    assert {name: [one.id for one in data] for name, data in found.items()} == {
        "first": ["two", "one"], "second": ["three"], "none": [],
    }  # fmt: skip
    assert [one.id for one in (await journal.approvals("default", run_id=first, status="pending")).data] == ["one"]
    assert (await journal.approvals("other", run_id=first)).data == []


async def test_overdue_approvals_expire_and_can_no_longer_be_given(journal: Journal, clock: Any) -> None:
    run_id = await waiting_run(journal, clock, "one")
    assert await journal.expire_approvals() == []
    clock.forward(60)
    with pytest.raises(Conflict, match="expired"):
        await journal.decide("default", "one", "approve", "ann")
    (expired,) = await journal.expire_approvals()
    assert expired.status == "expired"
    assert (await journal.get("default", run_id)).status == RunStatus.QUEUED
    assert await journal.expire_approvals() == []


async def test_a_decision_before_the_release_is_not_lost(journal: Journal, clock: Any) -> None:
    run = (await journal.create(created())).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    (known,) = (await journal.append(run.id, [requested(clock, "one")], claim.lease)).events
    await journal.decide("default", "one", "approve", "ann")
    assert (await journal.get("default", run.id)).status == RunStatus.RUNNING
    await journal.release(claim.lease, RunStatus.WAITING_APPROVAL, known.seq)
    assert (await journal.get("default", run.id)).status == RunStatus.QUEUED


async def test_the_end_of_a_run_closes_its_approvals(journal: Journal, clock: Any) -> None:
    run_id = await waiting_run(journal, clock, "one")
    await journal.append(run_id, [ended(RunStatus.CANCELLED, StopReason.CANCEL)])
    with pytest.raises(Conflict):
        await journal.decide("default", "one", "approve", "ann")


# -- interrupts, audit, projections ---


async def test_interrupts_are_latched_and_the_epoch_only_grows(journal: Journal, clock: Any) -> None:
    before = (await journal.interrupt_snapshot()).epoch
    first = await journal.raise_interrupt("a", "all", reason="fire", by="ann")
    second = await journal.raise_interrupt("b", "agent", "support")
    assert before < first.epoch < second.epoch
    assert [item.id for item in await journal.interrupts("a")] == [first.id]
    with pytest.raises(NotFound):
        await journal.clear_interrupt("b", first.id)
    cleared = await journal.clear_interrupt("a", first.id)
    assert cleared.cleared_at == clock()
    assert await journal.clear_interrupt("a", first.id) == cleared
    assert await journal.interrupts("a") == []
    assert [item.id for item in await journal.interrupts("a", active=False)] == [first.id]
    snapshot = await journal.interrupt_snapshot()
    assert snapshot.epoch > second.epoch
    assert {item.id for item in snapshot.interrupts} == {first.id, second.id}
    clock.forward(3601)
    assert {item.id for item in (await journal.interrupt_snapshot()).interrupts} == {second.id}


async def test_a_runs_stops_are_those_since_it_was_created_or_resumed(journal: Journal, clock: Any) -> None:
    async def stops() -> set[str]:
        return {item.id for item in (await journal.stops(await journal.get("default", run.id))).interrupts}

    lifted = await journal.raise_interrupt("default", "all")
    await journal.clear_interrupt("default", lifted.id)
    run = (await journal.create(created())).run
    assert (run.epoch, await stops()) == ((await journal.interrupt_snapshot()).epoch, set())
    raised = [await journal.raise_interrupt(tenant, "all") for tenant in ("default", "*", "other")]
    for each in raised:
        await journal.clear_interrupt(each.tenant_id, each.id)
    clock.forward(24 * 3600)
    assert await stops() == {raised[0].id, raised[1].id}
    await journal.append(run.id, [ended(RunStatus.INTERRUPTED, StopReason.INTERRUPT)])
    await journal.append(run.id, [RunResumed(by="ann")])
    assert await stops() == set()
    standing = await journal.raise_interrupt("default", "all")
    assert await stops() == {standing.id}


async def test_the_audit_is_one_verifiable_chain_a_tenant(journal: Journal) -> None:
    for tenant in ("a", "b"):
        run = (await journal.create(created(tenant_id=tenant))).run
        claim = await journal.claim("w", 30)
        assert claim is not None
        await journal.append(run.id, [judged(), decided(), judged("call_1")], claim.lease)
        await journal.record(tenant, [judged().verdict])
    records = await journal.audit("a")
    assert [record.seq for record in records] == [1, 2, 3]
    assert [(record.step, record.call_id) for record in records] == [(0, None), (1, "call_1"), (None, None)]
    assert {record.tenant_id for record in records} == {"a"}
    assert verify(records) is None
    tampered = records[1].model_copy(update={"call_id": "call_2"})
    assert verify([records[0], tampered, records[2]]) == 2
    assert [record.seq for record in await journal.audit("a", run_id=records[0].run_id, after=1)] == [2]


async def test_a_projection_moves_only_from_where_it_was_read(journal: Journal) -> None:
    assert await journal.projection("figures") is None
    await journal.save_projection("figures", Projection(5, {"runs": 1}), expected_cursor=0)
    assert await journal.projection("figures") == Projection(5, {"runs": 1})
    with pytest.raises(Conflict):
        await journal.save_projection("figures", Projection(9, {}), expected_cursor=4)
    await journal.save_projection("figures", Projection(9, {"runs": 2}), expected_cursor=5)
    assert await journal.projection("figures") == Projection(9, {"runs": 2})
