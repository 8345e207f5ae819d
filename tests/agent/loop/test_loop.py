"""The loop, driven by a worker over scripted models, on both journals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, plan, text
from agent.models.chat_model import Capabilities
from agent.run.budgets import Prices, TenantBudgets
from agent.run.commands import resume
from agent.run.state import fold
from agent.testing.fakes import ScriptedChatModel
from flightloop.chat import Usage
from flightloop.content import text_of
from flightloop.errors import Conflict
from flightloop.runs import Budget, StopReason
from flightloop.tool import ToolRefused, tool
from flightloop.usage import Amounts
from flightloop.verdicts import Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool(effect="pure")
def find(order_id: int) -> dict[str, Any]:
    """Finds an order."""
    ran.append(f"find {order_id}")
    return {"order": order_id, "state": "sent"}


@tool(effect="unsafe")
def hand_over(reason: str) -> str:
    """Hands over to a person."""
    return "a person takes over"


@tool(effect="pure")
def broken() -> str:
    """Always fails."""
    raise ToolRefused("the warehouse is closed")


def tail(events: list[Any]) -> list[str]:
    return [
        event.type for event in events if event.type not in ("verdict", "checks.passed", "run.created", "run.started")
    ]


async def test_plan_calls_reply(make_bench: Callable[..., Any]) -> None:
    script = [plan("Find the order", "find"), calls(("find", {"order_id": 7})), text("It was ", "sent.")]
    bench = make_bench(script, [find], planning=True)
    run = await bench.work(await bench.start())
    events = await bench.events(run)
    assert tail(events) == [
        "decision.plan",
        "decision.calls",
        "tool.intent",
        "tool.result",
        "decision.reply",
        "run.ended",
    ]
    assert (run.status, run.stop_reason, text_of(run.output)) == ("succeeded", "answered", "It was sent.")
    assert run.plan == ["find"]
    assert (run.usage.steps, run.usage.model_calls, run.usage.tool_calls) == (3, 3, 1)
    assert run.confidence == pytest.approx((0.9 + 0.8 + 0.9) / 3)
    assert ran == ["find 7"]
    asked = bench.model.requests
    assert asked[0].response_format.json_schema.name == "plan"
    assert asked[0].response_format.json_schema.schema_["properties"]["tools"]["items"]["enum"] == ["find"]
    assert (asked[0].tool_choice, asked[1].tool_choice) == ("none", "auto")
    assert [message.role for message in asked[2].messages] == ["system", "user", "assistant", "assistant", "tool"]
    assert '"state":"sent"' in asked[2].messages[-1].text


async def test_the_agents_own_level_goes_with_its_requests(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 7})), text("It was sent.")], [find], call_confidence=0.03)
    await bench.work(await bench.start())
    assert [request.flightloop.call_confidence for request in bench.model.requests] == [0.03, 0.03]


async def test_what_is_stored_is_the_fold_of_its_events(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 1})), text("ok")], [find])
    run = await bench.work(await bench.start())
    events = await bench.events(run)
    assert fold(events) == run
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_each_verdict_is_journaled_and_audited(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 1})), text("ok")], [find])
    run = await bench.work(await bench.start())
    passed = [event for event in await bench.events(run) if event.type == "checks.passed"]
    stages = [verdict.stage for event in passed for verdict in event.passed.verdicts]
    assert stages == [Stage.INPUT, Stage.TOOL_CALL, Stage.TOOL_RESULT, Stage.FINAL]
    records = await bench.journal.audit("default", run_id=run.id)
    assert [record.passed for record in records] == [event.passed for event in passed]
    assert [record.step for record in records] == [event.step for event in passed] == [0, 1, 2]


async def test_parallel_calls_overlap(make_bench: Callable[..., Any]) -> None:
    both = asyncio.Barrier(2)

    @tool(effect="pure")
    async def meet(name: str) -> str:
        """Waits for the other."""
        await asyncio.wait_for(both.wait(), 5)
        return name

    bench = make_bench([calls(("meet", {"name": "a"}), ("meet", {"name": "b"})), text("met")], [meet])
    run = await bench.work(await bench.start())
    assert run.status == "succeeded"
    results = [event for event in await bench.events(run) if event.type == "tool.result"]
    assert sorted(result.content for result in results) == ["a", "b"]
    assert {key for _, key in bench.hosts.attempts} == {f"{run.id}:1:0", f"{run.id}:1:1"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("nonsense", {}), "no tool is named 'nonsense'; use one of: find"),
        (("x" * 5000, {}), "no tool is named 'xxx"),
        (("find", "{not json"), "the arguments are not a JSON object"),
        (("find", {"order_id": "x"}), "order_id must be a whole number"),
        (("find", {}), "order_id is missing"),
    ],
)
async def test_a_mistake_of_the_model_is_an_observation(
    make_bench: Callable[..., Any], call: tuple[str, Any], told: str
) -> None:
    bench = make_bench([calls(call), text("sorry")], [find])
    run = await bench.work(await bench.start())
    assert run.status == "succeeded"
    assert told in bench.model.requests[1].messages[-1].text
    events = await bench.events(run)
    assert "tool.intent" not in tail(events)
    assert [event.known for event in events if event.type == "tool.result"] == [call[0] == "find"]
    assert ran == []


async def test_a_failing_tool_leads_to_one_new_plan(make_bench: Callable[..., Any]) -> None:
    script = [
        plan("try", "broken"),
        calls(("broken", {})),
        plan("try otherwise", "find"),
        calls(("broken", {})),
        text("I could not."),
    ]
    bench = make_bench(script, [find, broken], planning=True, replans=1)
    run = await bench.work(await bench.start())
    assert run.status == "succeeded"
    decided = [kind for kind in tail(await bench.events(run)) if kind.startswith("decision")]
    assert decided == ["decision.plan", "decision.calls", "decision.plan", "decision.calls", "decision.reply"]
    assert "the warehouse is closed" in bench.model.requests[2].messages[-1].text


async def test_a_call_that_fails_twice_alike_must_be_answered(make_bench: Callable[..., Any]) -> None:
    script = [calls(("broken", {})), calls(("find", {"order_id": 7})), calls(("broken", {})), text("It is closed.")]
    bench = make_bench(script, [find, broken])
    run = await bench.work(await bench.start())
    assert text_of(run.output) == "It is closed."
    assert [request.tool_choice for request in bench.model.requests] == ["auto", "auto", "auto", "none"]
    assert bench.model.requests[3].tools, "the prompt still begins as before"


async def test_empty_and_malformed_output_is_observed_and_retried(make_bench: Callable[..., Any]) -> None:
    script = [text("no plan"), plan("go", "find"), text("  "), text("Here you are.")]
    bench = make_bench(script, [find], planning=True)
    run = await bench.work(await bench.start())
    assert text_of(run.output) == "Here you are."
    assert "the plan was not a JSON object" in bench.model.requests[1].messages[-1].text
    assert "it was empty" in bench.model.requests[3].messages[-1].text


async def test_a_plan_without_a_goal(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text('{"goal": null, "tools": ["find"]}'), text("An answer.")], [find], planning=True)
    planned = await bench.events(await bench.work(await bench.start()))
    assert [(event.goal, event.tools) for event in planned if event.type == "decision.plan"] == [("", ["find"])]


async def test_without_a_plan_after_two_unusable_ones(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("?"), text("?"), text("An answer.")], [find], planning=True)
    run = await bench.work(await bench.start())
    assert text_of(run.output) == "An answer."
    assert bench.model.requests[2].response_format is None


async def test_a_model_that_reads_no_plans_is_asked_for_none(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([], [find], planning=True)
    bench.model = ScriptedChatModel([text("An answer.")], Capabilities(reads_plans=False))
    run = await bench.work(await bench.start())
    assert text_of(run.output) == "An answer."


async def test_a_policy_that_locks_to_the_plan_needs_one_from_every_model(make_bench: Callable[..., Any]) -> None:
    policy = parse_policy(
        "name: locked\nversion: '1'\ntools: {provenance: allow, allow: {'*': ['*']}, lock_to_plan: block}\n"
    )
    bench = make_bench([], [find], Guard(unhurried(policy)), planning=True)
    script = [plan("Find the order", "find"), text("An answer.")]
    bench.model = ScriptedChatModel(script, Capabilities(reads_plans=False))
    run = await bench.work(await bench.start())
    assert run.plan == ["find"]


async def test_escalation(make_bench: Callable[..., Any]) -> None:
    script = [calls(("hand_over", {"reason": "angry"})), text("A colleague will call.")]
    bench = make_bench(script, [hand_over], escalation=("hand_over",))
    run = await bench.work(await bench.start())
    assert (run.status, run.stop_reason) == ("succeeded", "escalated")


# -- budgets ---


async def test_budget_of_steps_and_resume(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 1})), text("ok")], [find])
    run = await bench.work(await bench.start(budget=Budget(steps=1)))
    assert (run.status, run.stop_reason) == ("failed", "budget_steps")
    assert len(bench.model.requests) == 1
    await resume(bench.journal, "default", run.id, "ann", Budget(steps=5))
    run = await bench.work(run)
    assert (run.status, run.usage.steps, run.error) == ("succeeded", 2, None)


async def test_budget_of_tokens_shortens_the_answer_then_ends(make_bench: Callable[..., Any]) -> None:
    first = text("one ", "two", finish="length", usage=Usage(prompt_tokens=50, completion_tokens=50))
    bench = make_bench([first])
    run = await bench.work(await bench.start(budget=Budget(tokens=100)))
    assert (run.status, run.stop_reason) == ("failed", "budget_tokens")
    assert bench.model.requests[0].max_tokens < bench.agent.max_tokens
    assert text_of(run.output) == "one two"


async def test_budget_of_cost(make_bench: Callable[..., Any]) -> None:
    dear = calls(("find", {"order_id": 1}))
    bench = make_bench([dear, text("?")], [find], prices=Prices(prompt=1.0, completion=50_000.0))
    run = await bench.work(await bench.start(budget=Budget(cost=0.51)))
    assert (run.status, run.stop_reason) == ("failed", "budget_cost")
    assert run.usage.cost == pytest.approx((20 * 1.0 + 10 * 50_000) / 1e6)
    assert len(bench.model.requests) == 1
    assert bench.model.requests[0].max_tokens == 10


async def test_budget_of_seconds_counts_over_leases(make_bench: Callable[..., Any]) -> None:
    async def slow() -> None:
        bench.clock.forward(40)

    bench = make_bench([[slow(), *calls(("find", {"order_id": 1}))], text("?")], [find])
    run = await bench.work(await bench.start(budget=Budget(seconds=30)))
    assert (run.status, run.stop_reason) == ("failed", "budget_seconds")
    assert run.usage.seconds == pytest.approx(40)


async def test_budget_of_seconds_ends_a_hanging_answer(make_bench: Callable[..., Any]) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    bench = make_bench([[text("half")[0], forever()]])
    run = await bench.work(await bench.start(budget=Budget(seconds=0.3)))
    assert (run.status, run.stop_reason) == ("failed", "budget_seconds")
    assert text_of(run.output) == "half"
    assert run.usage.completion_tokens == 1


async def test_a_sessions_runs_share_its_budget(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("one"), text("two")])
    bound = Budget(steps=1)
    await bench.work(await bench.start(session_budget=bound))
    run = await bench.work(await bench.start(session_budget=bound))
    assert (run.status, run.stop_reason) == ("failed", "budget_session")
    with pytest.raises(Conflict, match=r"larger session_budget\.steps"):
        await resume(bench.journal, "default", run.id)
    await resume(bench.journal, "default", run.id, session_budget=Budget(steps=2))
    run = await bench.work(run)
    assert (run.status, text_of(run.output)) == ("succeeded", "two")


async def test_a_tenants_runs_share_its_budget_of_a_day(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 1})), text("ok")], [find])
    bench.tenants = TenantBudgets(Budget(steps=1))
    run = await bench.work(await bench.start(session_id="one"))
    assert (run.status, run.stop_reason) == ("failed", "budget_tenant")
    assert ran == ["find 1"]  # what was reached stays
    with pytest.raises(Conflict, match="used its steps for this day"):
        await resume(bench.journal, "default", run.id, tenants=bench.tenants)
    bench.clock.forward(24 * 3600)
    await resume(bench.journal, "default", run.id, tenants=bench.tenants)
    assert (await bench.work(run)).status == "succeeded"
    spending = await bench.journal.ledger.spending("default", bench.tenants.window)
    assert (spending.used.steps, spending.reserved) == (1, Amounts())


async def test_shared_time_ends_a_hanging_answer(make_bench: Callable[..., Any]) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    bench = make_bench([[text("half")[0], forever()]])
    run = await bench.work(await bench.start(session_budget=Budget(seconds=0.5)))
    assert (run.status, run.stop_reason, text_of(run.output)) == ("failed", "budget_session", "half")


# -- context ---


async def test_the_session_is_remembered(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("Hello Ann."), text("You are Ann."), text("Who?")])
    await bench.work(await bench.start("I am Ann."))
    await bench.work(await bench.start("Who am I?"))
    await bench.work(await bench.start("Who am I?", session_id="another"))
    remembered = [message.text for message in bench.model.requests[1].messages[1:]]
    assert remembered == ["I am Ann.", "Hello Ann.", "Who am I?"]
    assert len(bench.model.requests[2].messages) == 2
    assert bench.guard.checked[-1].context.user_text == "Who am I?"


async def test_another_tenants_session_is_not(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("Hello Ann."), text("?")])
    await bench.work(await bench.start("I am Ann.", tenant_id="a"))
    await bench.work(await bench.start("Who am I?", tenant_id="b"))
    assert len(bench.model.requests[1].messages) == 2


async def test_released_text_is_published_while_it_is_decoded(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("a", "b", "c")])
    run = await bench.start()
    with bench.deltas.listen(run.id) as queue:
        await bench.work(run)
        assert "".join(queue.get_nowait().text for _ in range(queue.qsize())) == "abc"


def test_stop_reasons_of_budgets_are_all_resumable() -> None:
    from agent.run.state import RESUMABLE

    assert {reason for reason in StopReason if reason.startswith("budget")} <= RESUMABLE


async def test_no_more_calls_go_on_at_once_than_the_agent_says(make_bench: Callable[..., Any]) -> None:
    inside, most = 0, 0

    @tool(effect="keyed")
    async def note(number: int) -> str:
        """Notes."""
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return "ok"

    decided = calls(*(("note", {"number": number}) for number in range(5)))
    bench = make_bench([decided, text("done")], [note], parallel_calls=2)
    run = await bench.work(await bench.start())
    assert run.status == "succeeded"
    assert most == 2
    types = [event.type for event in await bench.events(run) if event.type.startswith(("decision", "tool"))]
    assert types[:3] == ["decision.calls", "tool.intent", "tool.intent"]
    assert types.count("tool.result") == 5
