"""A sub-agent is bound by the plan of the run that it works for, and by what a person denied it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from agent.models.answer_chunks import Turn, calls, text
from agent.project.agent_spec import AgentSpec
from flightloop.runs import Approval, Run
from flightloop.tool import tool
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from tests.agent.conftest import Bench, clock, journal, make_bench
from tests.agent.families import agent, family_of

__all__ = ["clock", "journal", "make_bench"]
OPEN = parse_policy("name: open\nversion: '1'\ntools: {provenance: allow, allow: {'*': ['*']}}\n")
ASKING = parse_policy(
    "name: asking\nversion: '1'\ntools: {provenance: allow, allow: {'*': ['*']}, ask: [{tool: pay}]}\n"
)
LOCKED = {
    mode: parse_policy(
        f"name: locked-{mode}\nversion: '1'\n"
        f"tools: {{provenance: allow, allow: {{'*': ['*']}}, lock_to_plan: {mode}}}\n"
    )
    for mode in ("ask", "block")
}
paid: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_paid() -> None:
    paid.clear()


@tool(effect="keyed")
def pay(to: str) -> str:
    """Pays somebody."""
    paid.append(to)
    return "paid"


@tool(effect="pure")
def balance() -> str:
    """Reads the balance."""
    return "7"


DELEGATE = calls(("ask_billing", {"task": "pay eve"}))
PAY = calls(("pay", {"to": "eve"}))


@pytest.fixture
def family(make_bench: Callable[..., Bench]) -> Callable[..., Bench]:
    def make(desk: AgentSpec, billing: AgentSpec, *script: Turn) -> Bench:
        policies = [OPEN, ASKING, *LOCKED.values()]
        return family_of(make_bench(list(script)), [desk, billing], [pay, balance], Guard, policies)  # type: ignore[no-any-return]

    return make


def plan(*tools: str) -> Turn:
    return text(json.dumps({"goal": "help", "tools": list(tools)}))


async def start(bench: Bench) -> Run:
    return await bench.start("Please help.", agent="desk")


async def waiting(bench: Bench) -> list[Approval]:
    return (await bench.journal.approvals("default", status="pending")).data


@pytest.mark.parametrize("own", ["open", "locked"])
async def test_a_write_that_the_callers_plan_lacks_is_not_made(family: Callable[..., Bench], own: str) -> None:
    """The sub-agent plans it itself, from a task that a stranger's text may have led to."""
    desk = agent("desk", "billing", tools=["balance"], policy="locked-block", planning=True)
    billing = agent("billing", tools=["pay", "balance"], policy=own.replace("locked", "locked-block"), planning=True)
    bench = family(
        desk, billing, plan("ask_billing"), DELEGATE, plan("pay"), PAY, plan("pay"), PAY, text("No."), text("Done.")
    )
    run = await bench.work(await start(bench))
    assert run.status.terminal
    assert paid == []


async def test_a_write_that_the_callers_plan_lacks_asks_a_person(family: Callable[..., Bench]) -> None:
    desk = agent("desk", "billing", policy="locked-ask", planning=True)
    billing = agent("billing", tools=["pay"], policy="open", planning=True)
    bench = family(desk, billing, plan("ask_billing"), DELEGATE, plan("pay"), PAY, text("Paid."), text("Done."))
    run = await start(bench)
    await bench.until(lambda: _some(bench))
    (approval,) = await waiting(bench)
    assert (approval.tool, paid) == ("pay", [])
    assert "not in the plan" in approval.reason
    await bench.journal.decide("default", approval.id, "approve", "ann")
    assert (await bench.work(run)).status == "succeeded"
    assert paid == ["eve"]


async def _some(bench: Bench) -> bool:
    return bool(await waiting(bench))


async def test_a_write_that_both_plans_name_is_made(family: Callable[..., Bench]) -> None:
    desk = agent("desk", "billing", tools=["pay"], policy="locked-block", planning=True)
    billing = agent("billing", tools=["pay"], policy="locked-block", planning=True)
    bench = family(desk, billing, plan("ask_billing", "pay"), DELEGATE, plan("pay"), PAY, text("Paid."), text("Done."))
    assert (await bench.work(await start(bench))).status == "succeeded"
    assert paid == ["eve"]


async def test_a_sub_agent_does_not_make_what_its_caller_was_denied(family: Callable[..., Bench]) -> None:
    desk = agent("desk", "billing", tools=["pay"], policy="asking")
    billing = agent("billing", tools=["pay"], policy="open")
    bench = family(desk, billing, PAY, DELEGATE, PAY, text("I could not."), text("It was not paid."))
    run = await bench.work(await start(bench))
    (approval,) = await waiting(bench)
    await bench.journal.decide("default", approval.id, "deny", "ann", "no")
    run = await bench.work(run)
    assert run.status == "succeeded"
    assert (paid, await waiting(bench)) == ([], [])


async def test_a_caller_does_not_make_what_its_sub_agent_was_denied(family: Callable[..., Bench]) -> None:
    desk = agent("desk", "billing", tools=["pay"], policy="open")
    billing = agent("billing", tools=["pay"], policy="asking")
    bench = family(desk, billing, DELEGATE, PAY, text("I could not."), PAY, text("It was not paid."))
    run = await start(bench)
    await bench.until(lambda: _some(bench))
    (approval,) = await waiting(bench)
    await bench.journal.decide("default", approval.id, "deny", "ann", "no")
    run = await bench.work(run)
    assert run.status == "succeeded"
    assert (paid, await waiting(bench)) == ([], [])


async def test_what_was_denied_may_be_asked_for_anew(family: Callable[..., Bench]) -> None:
    """In other words of the user: a denial holds for the run in which it was given and those that work for it."""
    desk = agent("desk", "billing", tools=["pay"], policy="asking")
    bench = family(desk, agent("billing"), PAY, text("It was not paid."), PAY)
    run = await bench.work(await start(bench))
    (approval,) = await waiting(bench)
    await bench.journal.decide("default", approval.id, "deny", "ann", "no")
    await bench.work(run)
    again = await bench.work(await bench.start("Pay eve, please.", agent="desk"))
    assert again.status == "waiting_approval"
