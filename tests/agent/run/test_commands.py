"""Cancel, interrupt and resume, by the state that the run is in."""

from __future__ import annotations

from typing import Any

import pytest

from agent.run.commands import cancel, interrupt, resume
from agent.run.journal import Journal
from flightloop.errors import Conflict, NotFound
from flightloop.events import RunCreated, RunEnded
from flightloop.runs import Budget, Run, RunStatus, StopReason


async def queued(journal: Journal, **fields: Any) -> Run:
    given = {"agent": "a", "session_id": "s", "input": "hi", "budget": Budget(steps=3)} | fields
    return (await journal.create(RunCreated.model_validate(given))).run


async def ended(journal: Journal, status: RunStatus, reason: StopReason) -> Run:
    run = await queued(journal)
    claim = await journal.claim("w", 30)
    assert claim is not None
    await journal.append(run.id, [RunEnded(status=status, stop_reason=reason)], claim.lease)
    return await journal.get("default", run.id)


async def test_a_queued_run_is_cancelled_at_once(journal: Journal) -> None:
    run = await cancel(journal, "default", (await queued(journal)).id, "ann")
    assert (run.status, run.stop_reason) == ("cancelled", "cancel")
    with pytest.raises(Conflict):
        await cancel(journal, "default", run.id)


async def test_a_held_run_is_only_asked_to_end(journal: Journal) -> None:
    run = await queued(journal)
    await journal.claim("w", 30)
    assert (await cancel(journal, "default", run.id, "ann")).status == "running"
    (request,) = [event for event in await journal.events("default", run.id) if event.type == "run.cancel_requested"]
    assert request.by == "ann"


async def test_another_tenants_run_is_not_found(journal: Journal) -> None:
    run = await queued(journal, tenant_id="a")
    for command in (cancel, interrupt, resume):
        with pytest.raises(NotFound):
            await command(journal, "b", run.id)
    assert await journal.interrupts("b") == []


async def test_an_interrupt_ends_a_queued_run_and_is_lifted_by_resuming(journal: Journal) -> None:
    run = await interrupt(journal, "default", (await queued(journal)).id, "ann", "smoke")
    assert (run.status, run.stop_reason) == ("interrupted", "interrupt")
    (latched,) = await journal.interrupts("default")
    assert (latched.scope, latched.target, latched.reason) == ("run", run.id, "smoke")
    assert (await resume(journal, "default", run.id, "ann")).status == "queued"
    assert await journal.interrupts("default") == []


async def test_resuming_a_held_run_does_not_lift_its_interrupt(journal: Journal) -> None:
    run = await queued(journal)
    await journal.claim("w", 30)
    await interrupt(journal, "default", run.id)
    with pytest.raises(Conflict, match="cannot be resumed"):
        await resume(journal, "default", run.id)
    assert len(await journal.interrupts("default")) == 1


@pytest.mark.parametrize(("scope", "target"), [("all", None), ("agent", "a"), ("session", "s")])
async def test_a_broader_interrupt_has_to_be_cleared_first(journal: Journal, scope: Any, target: str | None) -> None:
    run = await ended(journal, RunStatus.INTERRUPTED, StopReason.INTERRUPT)
    broad = await journal.raise_interrupt("default", scope, target)
    with pytest.raises(Conflict, match=broad.id):
        await resume(journal, "default", run.id)
    await journal.clear_interrupt("default", broad.id)
    assert (await resume(journal, "default", run.id)).status == "queued"


async def test_an_exhausted_budget_has_to_be_raised(journal: Journal) -> None:
    run = await ended(journal, RunStatus.FAILED, StopReason.BUDGET_TOKENS)
    for budget in (None, Budget(steps=99)):
        with pytest.raises(Conflict, match=r"larger budget\.tokens"):
            await resume(journal, "default", run.id, budget=budget)
    resumed = await resume(journal, "default", run.id, budget=Budget(tokens=500))
    assert (resumed.status, resumed.budget.tokens, resumed.budget.steps) == ("queued", 500, 3)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (RunStatus.SUCCEEDED, StopReason.ANSWERED),
        (RunStatus.BLOCKED, StopReason.GUARDRAIL),
        (RunStatus.CANCELLED, StopReason.CANCEL),
    ],
)
async def test_what_ended_for_good_stays_ended(journal: Journal, status: RunStatus, reason: StopReason) -> None:
    run = await ended(journal, status, reason)
    with pytest.raises(Conflict, match="cannot be resumed"):
        await resume(journal, "default", run.id)
