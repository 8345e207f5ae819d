"""Limits over time in a run: from the guard's ruling to the journal's count, on all journals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from agent.testing.fakes import ScriptedChatModel
from flightloop.chat import FunctionCall, ToolCall
from flightloop.events import CallsDecided, ModelCall, ToolIntent, ToolResult
from flightloop.runs import Run
from flightloop.subject import Subject
from flightloop.tool import ToolContext, ToolRefused, tool
from guardrails.guard import Guard
from guardrails.limit_share import LimitShare
from guardrails.policy import parse_policy, unhurried
from tests.agent.families import agent, family_of

made: list[float] = []
POLICY = """
name: shop
version: "1"
stages: {{input: {{rails: []}}, tool_call: {{rails: []}}, tool_result: {{rails: []}}, final: {{rails: []}}}}
tools: {{provenance: allow, allow: {{"*": ["*"]}}, repeated_writes: allow, false_claims: allow}}
limits:
  - {limit}
"""
PER_ORDER = "{tools: [refund], sum: amount, per: [order_id], maximum: 100, action: %s}"


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    made.clear()


@tool(effect="transactional")
def refund(context: ToolContext, order_id: int, amount: float) -> str:
    """Refunds an order."""
    if order_id == 404:
        raise ToolRefused("no such order")
    if order_id == 500:
        raise RuntimeError("the bank does not answer")
    made.append(amount)
    return "refunded"


def guard(limit: str) -> Guard:
    return Guard(unhurried(parse_policy(POLICY.format(limit=limit))))


def asked_for(amount: float, order_id: int = 7) -> tuple[str, dict[str, Any]]:
    return "refund", {"order_id": order_id, "amount": amount}


async def told(bench: Any, run: Run) -> list[str]:
    events = await bench.events(run)
    return [event.error or event.content for event in events if isinstance(event, ToolResult)]


def share(order_id: int = 7) -> LimitShare:
    per = (("order_id", str(order_id)),)
    return LimitShare(0, "refund", ("refund",), "sum amount", per, None, Decimal(100), Decimal(1))


async def used(bench: Any, run: Run, order_id: int = 7) -> Decimal:
    return (await bench.journal.limits.used(run, "", [share(order_id)]))[0]


REFUSED = (
    "not allowed: the sum of amount of refund per order_id is limited to 100: 99 used, 1 left, and this call adds 99"
)


async def test_four_refunds_of_99_on_one_order(make_bench: Callable[..., Any]) -> None:
    script = [*(calls(asked_for(amount)) for amount in (99, 99, 98, 97)), text("ok")]
    bench = make_bench(script, [refund], guard(PER_ORDER % "block"))
    run = await bench.work(await bench.start())
    others = [REFUSED.replace("adds 99", f"adds {amount}") for amount in (98, 97)]
    assert await told(bench, run) == ["refunded", REFUSED, *others]
    assert made == [99]
    audited = await bench.journal.audit("default", run_id=run.id)
    blocked = [record.verdict for record in audited if record.verdict.action == "block"]
    assert [(verdict.rail, verdict.labels) for verdict in blocked] == [("limits", ["limit"])] * 3


async def test_refunds_of_one_decision_share_the_room(make_bench: Callable[..., Any]) -> None:
    decision = calls(asked_for(99), asked_for(99), asked_for(99), asked_for(99, 8))
    bench = make_bench([decision, text("ok")], [refund], guard(PER_ORDER % "block"))
    run = await bench.work(await bench.start())
    assert sorted(await told(bench, run)) == [REFUSED, REFUSED, "refunded", "refunded"]
    intents = [event for event in await bench.events(run) if isinstance(event, ToolIntent)]
    assert sorted(intent.arguments["order_id"] for intent in intents) == [7, 8]
    assert (len(made), run.usage.tool_calls) == (2, 2)


async def test_runs_side_by_side_share_the_room(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([], [refund], guard(PER_ORDER % "block"))
    bench.model = ScriptedChatModel([*(calls(asked_for(60)) for _ in range(4)), *(text("ok") for _ in range(4))])
    runs = [await bench.start(session_id=f"s{n}") for n in range(4)]

    async def ended() -> bool:
        return all([(await bench.get(run)).status.terminal for run in runs])

    workers = [bench.worker(f"w{n}") for n in range(2)]
    await asyncio.gather(*(bench.until(ended, worker) for worker in workers))
    assert made == [60]
    assert await used(bench, runs[0]) == 60


async def test_what_a_person_approves_counts_when_it_is_made(make_bench: Callable[..., Any]) -> None:
    script = [calls(asked_for(60)), calls(asked_for(70), asked_for(80)), text("ok")]
    bench = make_bench(script, [refund], guard(PER_ORDER % "ask"))
    run = await bench.work(await bench.start())
    assert run.status == "waiting_approval"
    first, second = await bench.journal.run_approvals(run.id)
    assert "60 used, 40 left, and this call adds 70" in first.reason
    assert "60 used, 40 left, and this call adds 80" in second.reason
    assert await used(bench, run) == 60
    for approval in (first, second):
        await bench.journal.decide("default", approval.id, "approve", "ann")
    run = await bench.work(run)
    assert run.status == "waiting_approval"  # one was made, so the figures of the other have changed
    assert len(made) == 2
    *_, again = await bench.journal.run_approvals(run.id)
    assert f"{60 + made[1]:g} used, 0 left" in again.reason
    await bench.journal.decide("default", again.id, "approve", "ann")
    run = await bench.work(run)
    assert sorted(made) == [60, 70, 80]
    assert await used(bench, run) == 210


async def test_an_approval_covers_figures_that_the_reason_may_not_tell(make_bench: Callable[..., Any]) -> None:
    per_agent = "{tools: [refund], sum: amount, per: [agent], maximum: 100, action: ask}"
    bench = make_bench([calls(asked_for(101))], [refund], guard(per_agent))
    run = await bench.work(await bench.start(subject=Subject(id="anna")))
    bench.model = ScriptedChatModel([calls(asked_for(50, 8)), text("ok")])
    await bench.work(await bench.start(subject=Subject(id="bob"), session_id="s2"))
    (first,) = await bench.journal.run_approvals(run.id)
    await bench.journal.decide("default", first.id, "approve", "ann")
    bench.model = ScriptedChatModel([text("ok")])
    run = await bench.work(run)
    assert run.status == "waiting_approval"
    assert made == [50]
    *_, again = await bench.journal.run_approvals(run.id)
    assert [first.figures, again.figures] == [
        [f"limit 0, sum amount of refund per agent: {seen} used of 100"] for seen in (0, 50)
    ]
    assert first.reason == again.reason
    assert "used" not in first.reason
    await bench.journal.decide("default", again.id, "approve", "ann")
    run = await bench.work(run)
    assert (run.status, made) == ("succeeded", [50, 101])


async def test_a_denied_call_counts_nothing(make_bench: Callable[..., Any]) -> None:
    script = [calls(asked_for(101)), calls(asked_for(90)), text("ok")]
    bench = make_bench(script, [refund], guard(PER_ORDER % "ask"))
    run = await bench.work(await bench.start())
    (approval,) = await bench.journal.run_approvals(run.id)
    await bench.journal.decide("default", approval.id, "deny", "ann", "no")
    run = await bench.work(run)
    assert made == [90]
    assert await used(bench, run) == 90


async def test_a_failed_call_gives_back_what_an_uncertain_one_keeps(make_bench: Callable[..., Any]) -> None:
    script = [calls(asked_for(60, 404)), calls(asked_for(70, 404)), calls(asked_for(60, 500)), text("ok")]
    bench = make_bench(script, [refund], guard(PER_ORDER % "block"))
    run = await bench.work(await bench.start())
    assert len(await told(bench, run)) == 3
    assert (await used(bench, run, 404), await used(bench, run, 500)) == (0, 60)


async def test_a_call_of_a_killed_worker_counts_once(make_bench: Callable[..., Any], clock: Any) -> None:
    bench = make_bench([text("ok")], [refund], guard(PER_ORDER % "block"))
    run = await bench.start()
    claim = await bench.journal.claim("killed", 30)
    call_id, asked = "call_1_0", FunctionCall(name="refund", arguments='{"order_id": 7, "amount": 99}')
    decision = CallsDecided(calls=[ToolCall(id=call_id, function=asked)], model=ModelCall(model="m"))
    intent = ToolIntent(
        call_id=call_id,
        tool="refund",
        arguments={"order_id": 7, "amount": 99.0},
        key=f"{run.id}:1:0",
        effect="transactional",
        args_sha256="x",
        policy_sha256="p",
        fence=1,
    )
    counted = replace(share(), amount=Decimal(99))
    await bench.journal.append(run.id, [decision, intent], claim.lease, (), [(call_id, counted)])
    clock.forward(31)
    run = await bench.work(run)
    assert (run.status, made) == ("succeeded", [99])
    assert await used(bench, run) == 99


async def test_a_limited_read_is_counted_before_it_is_made(make_bench: Callable[..., Any]) -> None:
    @tool(effect="pure")
    def search(words: str) -> str:
        """Searches."""
        made.append(1)
        return words

    script = [calls(*(("search", {"words": word}) for word in "abc")), text("ok")]
    bench = make_bench(script, [search], guard("{tools: [search], count: 2, per: [subject], window: 1d}"))
    run = await bench.work(await bench.start(subject=Subject(id="anna")))
    assert len(made) == 2
    assert run.usage.tool_calls == 2
    other = await bench.start(subject=Subject(id="bob"), session_id="s2")
    bench.model = ScriptedChatModel([calls(("search", {"words": "a"})), text("ok")])
    await bench.work(other)
    assert len(made) == 3


async def test_a_look_that_finds_nothing_counts(make_bench: Callable[..., Any]) -> None:
    """Otherwise one could guess without an end: that nothing was found is an answer."""

    @tool(effect="pure")
    def search(words: str) -> str:
        """Searches."""
        made.append(1)
        raise ToolRefused("Nothing was found.")

    script = [calls(("search", {"words": word})) for word in "abc"]
    bench = make_bench(
        [*script, text("ok")], [search], guard("{tools: [search], count: 2, per: [session], window: 1d}")
    )
    await bench.work(await bench.start())
    assert len(made) == 2


@pytest.mark.parametrize("calls_made", [0, 1])
async def test_a_failed_sub_run_gives_nothing_back_once_it_has_made_calls(
    make_bench: Callable[..., Any], calls_made: int
) -> None:
    ask = calls(("ask_billing", {"task": "Refund 60 on order 7."}))
    budget = {"steps": 1} if calls_made else {"steps": 1, "tokens": 10}
    agents = agent("desk", "billing"), agent("billing", tools=["refund"], budget=budget)
    limited = guard("{tools: [ask_billing], count: 1, per: [session]}")
    script = [ask, *[calls(asked_for(60))] * calls_made, ask, text("ok")]
    bench = family_of(make_bench(script), agents, [refund], lambda policy: limited)
    run = await bench.work(await bench.start(agent="desk"))
    first, second = [event for event in await bench.events(run) if isinstance(event, ToolResult)]
    assert "run ended as failed" in first.error
    assert first.uncertain is bool(calls_made)
    assert ("limited to 1: 1 used" in second.error) is bool(calls_made)
    assert made == [60] * calls_made
