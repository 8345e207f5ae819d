"""A stop holds for every run that was there when it was raised, whatever it waits for, and for none that is resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.loop.local_hosts import LocalHosts
from agent.models.answer_chunks import calls, text
from agent.project.agent_spec import AgentSpec
from agent.project.guards import Guards
from agent.project.project import Project
from agent.run.commands import interrupt, resume
from agent.store import sql_journal
from agent.store.rules import stops
from flightloop.content import text_of
from flightloop.errors import Conflict
from flightloop.runs import Interrupt, Run
from flightloop.tool import tool, tool_of
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from tests.agent.conftest import Bench
from tests.agent.families import FamilyKits
from tests.security.benches import bench
from tools.registry import Registry

ASKING = "name: desk\nversion: '1'\ntools: {provenance: allow, allow: {helper: ['*']}, ask: [{tool: pay}]}\n"
PAY = calls(("pay", {"amount": 5}))
SCOPES = [("all", None), ("agent", "helper"), ("session", "s1")]
HOUR = 3600.0
paid: list[float] = []


@tool(effect="keyed")
def pay(amount: float) -> str:
    """Pays."""
    paid.append(amount)
    return "paid"


@pytest.fixture(params=["memory", "sqlite"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    paid.clear()
    made = bench(tmp_path, PAY, text("Done."), tools=[tool_of(pay)], policy=ASKING, approval_seconds=int(9 * HOUR))
    if request.param == "sqlite":
        made.journal = sql_journal(f"sqlite:///{tmp_path}/journal.db", clock=made.clock, poll_s=0.01)
    yield made
    await made.journal.close()


async def stopped_and_cleared(desk: Bench, scope: Any, target: str | None, tenant: str = "default") -> Interrupt:
    raised = await desk.journal.raise_interrupt(tenant, scope, target)
    desk.clock.forward(1)
    return await desk.journal.clear_interrupt(tenant, raised.id)


async def approved(desk: Bench, run: Run) -> Run:
    (approval,) = (await desk.journal.approvals("default", status="pending")).data
    await desk.journal.decide("default", approval.id, "approve", "ann")
    return await desk.work(run)


@pytest.mark.parametrize(("scope", "target"), SCOPES)
async def test_a_queued_run_does_not_outlive_a_stop_that_was_lifted(
    desk: Bench, scope: str, target: str | None
) -> None:
    run = await desk.start()
    await stopped_and_cleared(desk, scope, target)
    assert (await desk.work(run)).status == "interrupted"
    assert desk.model.requests == []
    later = await desk.start()
    assert (await desk.work(later)).status == "waiting_approval"


@pytest.mark.parametrize("hours", [0, 8])
@pytest.mark.parametrize(("scope", "target"), SCOPES)
async def test_neither_does_one_that_waits_for_a_person(
    desk: Bench, scope: str, target: str | None, hours: int
) -> None:
    run = await desk.work(await desk.start())
    await stopped_and_cleared(desk, scope, target)
    desk.clock.forward(hours * HOUR)
    assert (await approved(desk, run)).status == "interrupted"
    assert paid == []
    # Whoever resumes it lets it go on, with what was approved.
    await resume(desk.journal, "default", run.id, "ann")
    run = await desk.work(run)
    assert (run.status, text_of(run.output), paid) == ("succeeded", "Done.", [5])


@pytest.mark.parametrize(("scope", "target"), [("all", None), ("session", "s1")])
async def test_a_stop_is_not_forgotten_for_later_ones(
    desk: Bench, scope: str, target: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "KEPT", 3)
    run = await desk.work(await desk.start())
    await stopped_and_cleared(desk, scope, target)
    for number in range(10):
        await stopped_and_cleared(desk, "session", f"other_{number}")
    assert (await approved(desk, run)).status == "interrupted"
    assert paid == []
    assert (await desk.work(await desk.start())).status == "succeeded"


@pytest.mark.parametrize(
    ("tenant", "scope", "target"),
    [("other", "all", None), ("default", "agent", "another"), ("default", "session", "s2")],
)
async def test_the_stop_of_others_does_not_concern_it(desk: Bench, tenant: str, scope: str, target: str | None) -> None:
    run = await desk.work(await desk.start())
    await stopped_and_cleared(desk, scope, target, tenant)
    assert (await approved(desk, run)).status == "succeeded"


async def test_a_stop_of_all_tenants_holds_for_each(desk: Bench) -> None:
    run = await desk.start()
    await stopped_and_cleared(desk, "all", None, "*")
    assert (await desk.work(run)).status == "interrupted"


async def test_a_resumed_run_is_not_stopped_by_what_was_lifted_before(desk: Bench) -> None:
    """Whatever the worker has last heard of the stop: it reads it now and then."""
    run = await desk.work(await desk.start())
    assert (await interrupt(desk.journal, "default", run.id)).status == "interrupted"
    raised = await desk.journal.raise_interrupt("default", "all")
    desk.snapshot = await desk.journal.interrupt_snapshot()
    with pytest.raises(Conflict, match="is still active"):
        await resume(desk.journal, "default", run.id, "ann")
    await desk.journal.clear_interrupt("default", raised.id)
    await resume(desk.journal, "default", run.id, "ann")
    assert (await desk.work(run)).status == "waiting_approval"
    assert (await approved(desk, run)).status == "succeeded"


async def test_a_stop_that_is_raised_while_it_is_claimed_is_not_missed(desk: Bench) -> None:
    """By a worker that has heard of nothing yet."""
    run = await desk.start()
    await desk.journal.raise_interrupt("default", "all")
    assert (await desk.work(run)).status == "interrupted"
    assert desk.model.requests == []


async def test_a_run_that_waits_for_another_agent_ends_with_it(tmp_path: Path) -> None:
    """That one was there as well: it is stopped, and the one that asked does not go on without it."""
    paid.clear()
    made = bench(tmp_path, calls(("ask_clerk", {"task": "Pay."})), PAY, text("never said"), policy=ASKING)
    desk, clerk = (
        AgentSpec(name="helper", description="Helps.", instructions="Help.", planning=False, agents=("clerk",)),
        AgentSpec(name="clerk", description="Pays.", instructions="Pay.", planning=False, tools=("pay",)),
    )
    made.hosts = LocalHosts([tool_of(pay)])
    policy = parse_policy(
        "name: default\nversion: '1'\ntools: {provenance: allow, allow: {'*': ['*']}, ask: [{tool: pay}]}\n"
    )
    agents = {each.name: each for each in (desk, clerk)}
    project = Project(tmp_path, agents, {"default": policy}, (), Registry([tool_of(pay)]), "")
    made.kits = FamilyKits(project, made.hosts, Guards(Guard))
    run = await made.start()

    async def asks() -> bool:
        return bool((await made.journal.approvals("default", status="pending")).data)

    await made.until(asks)
    await stopped_and_cleared(made, "all", None)
    assert (await approved(made, run)).status == "interrupted"
    (child,) = (await made.journal.runs("default", parent=run.id)).data
    assert (child.status, paid, len(made.model.requests)) == ("interrupted", [], 2)
