"""The loop, driven by a worker over scripted models, on both journals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent.budgets import Prices
from agent.commands import cancel, resume
from agent.fakes import RuleGuard, calls, on, plan, text
from agent.run import fold
from flightloop.chat import Usage
from flightloop.content import text_of
from flightloop.errors import Conflict, ModelUnavailable
from flightloop.runs import Budget, Interrupt, RunStatus, StopReason
from flightloop.tool import ToolContext, ToolRefused, tool
from flightloop.verdicts import Action, Stage
from guardrails.interrupt import InterruptSnapshot

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool(effect="pure")
def find(order_id: int) -> dict[str, Any]:
    """Finds an order."""
    ran.append(f"find {order_id}")
    return {"order": order_id, "state": "sent"}


@tool(effect="transactional")
def refund(context: ToolContext, order_id: int, amount: float) -> str:
    """Refunds an order."""
    ran.append(f"refund {order_id} {context.key}")
    return "refunded"


@tool(effect="unsafe")
def hand_over(reason: str) -> str:
    """Hands over to a person."""
    return "a person takes over"


@tool(effect="pure")
def broken() -> str:
    """Always fails."""
    raise ToolRefused("the warehouse is closed")


def tail(events: list[Any]) -> list[str]:
    return [event.type for event in events if event.type not in ("verdict", "run.created", "run.started")]


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


async def test_what_is_stored_is_the_fold_of_its_events(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 1})), text("ok")], [find])
    run = await bench.work(await bench.start())
    events = await bench.events(run)
    assert fold(events) == run
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_each_verdict_is_journaled_and_audited(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 1})), text("ok")], [find])
    run = await bench.work(await bench.start())
    stages = [event.verdict.stage for event in await bench.events(run) if event.type == "verdict"]
    assert stages == [Stage.INPUT, Stage.TOOL_CALL, Stage.TOOL_RESULT, Stage.FINAL]
    records = await bench.journal.audit("default", run_id=run.id)
    assert [record.verdict.stage for record in records] == stages
    assert [record.step for record in records] == [0, 1, 1, 2]


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
    assert "tool.intent" not in tail(await bench.events(run))
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


async def test_empty_and_malformed_output_is_observed_and_retried(make_bench: Callable[..., Any]) -> None:
    script = [text("no plan"), plan("go", "find"), text("  "), text("Here you are.")]
    bench = make_bench(script, [find], planning=True)
    run = await bench.work(await bench.start())
    assert text_of(run.output) == "Here you are."
    assert "the plan was not a JSON object" in bench.model.requests[1].messages[-1].text
    assert "it was empty" in bench.model.requests[3].messages[-1].text


async def test_without_a_plan_after_two_unusable_ones(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("?"), text("?"), text("An answer.")], [find], planning=True)
    run = await bench.work(await bench.start())
    assert text_of(run.output) == "An answer."
    assert bench.model.requests[2].response_format is None


async def test_escalation(make_bench: Callable[..., Any]) -> None:
    script = [calls(("hand_over", {"reason": "angry"})), text("A colleague will call.")]
    bench = make_bench(script, [hand_over], escalation=("hand_over",))
    run = await bench.work(await bench.start())
    assert (run.status, run.stop_reason) == ("succeeded", "escalated")


# -- guardrails -----------------------------------------------------------------------------------


async def test_a_blocked_input_never_reaches_the_model(make_bench: Callable[..., Any]) -> None:
    guard = RuleGuard(on(Stage.INPUT, Action.BLOCK))
    bench = make_bench([], guard=guard)
    run = await bench.work(await bench.start())
    assert (run.status, run.stop_reason) == ("blocked", "guardrail")
    assert text_of(run.output) == guard.policy.document.refusal
    assert run.error.code == "guardrail_blocked"
    assert bench.model.requests == []


async def test_a_redacted_input_is_what_the_model_sees(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("ok")], guard=RuleGuard(on(Stage.INPUT, "my card is [card]")))
    run = await bench.work(await bench.start("my card is 4111"))
    assert run.status == "succeeded"
    assert bench.model.requests[0].messages[-1].text == "my card is [card]"


async def test_a_blocked_answer_is_withheld_everywhere(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("the secret is xyzzy")], guard=RuleGuard(on(Stage.FINAL, Action.BLOCK)))
    run = await bench.work(await bench.start())
    assert run.status == "blocked"
    told = " ".join(event.model_dump_json() for event in await bench.events(run))
    assert "xyzzy" not in told
    assert run.usage.completion_tokens == 1


async def test_a_redacted_answer_replaces_it(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("mail bob@example.com")], guard=RuleGuard(on(Stage.FINAL, "mail [email]")))
    run = await bench.work(await bench.start())
    assert text_of(run.output) == "mail [email]"
    assert all("bob@" not in event.model_dump_json() for event in await bench.events(run))


async def test_a_blocked_call_is_not_performed(make_bench: Callable[..., Any]) -> None:
    guard = RuleGuard(on(Stage.TOOL_CALL, Action.BLOCK, tool="refund"))
    bench = make_bench([calls(("refund", {"order_id": 1, "amount": 5})), text("no")], [refund], guard=guard)
    run = await bench.work(await bench.start())
    assert run.status == "succeeded"
    assert ran == []
    assert "a guardrail refused it" in bench.model.requests[1].messages[-1].text


async def test_a_withheld_result_never_reaches_the_model(make_bench: Callable[..., Any]) -> None:
    guard = RuleGuard(on(Stage.TOOL_RESULT, Action.BLOCK))
    bench = make_bench([calls(("find", {"order_id": 7})), text("hm")], [find], guard=guard)
    await bench.work(await bench.start())
    assert ran == ["find 7"]
    seen = bench.model.requests[1].messages[-1].text
    assert "withheld" in seen
    assert "sent" not in seen


# -- approvals ------------------------------------------------------------------------------------


def asking(*more: Any) -> RuleGuard:
    return RuleGuard(on(Stage.TOOL_CALL, Action.ASK, tool="refund"), *more)


TWO = calls(("find", {"order_id": 1}), ("refund", {"order_id": 1, "amount": 5}))


async def test_ask_and_approve(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([TWO, text("done")], [find, refund], guard=asking())
    run = await bench.work(await bench.start())
    assert run.status == "waiting_approval"
    assert ran == ["find 1"]
    (approval,) = (await bench.journal.approvals("default", status="pending")).data
    assert (approval.tool, approval.arguments) == ("refund", {"order_id": 1, "amount": 5})
    await bench.journal.decide("default", approval.id, "approve", "ann")
    run = await bench.work(run)
    assert run.status == "succeeded"
    assert ran == ["find 1", f"refund 1 {run.id}:1:1"]


async def test_ask_and_deny(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([TWO, text("I may not.")], [find, refund], guard=asking())
    run = await bench.work(await bench.start())
    (approval,) = (await bench.journal.approvals("default")).data
    await bench.journal.decide("default", approval.id, "deny", "ann", "too much")
    run = await bench.work(run)
    assert run.status == "succeeded"
    assert ran == ["find 1"]
    assert "a person denied it: too much" in bench.model.requests[1].messages[-1].text
    with pytest.raises(Conflict, match="already denied"):
        await bench.journal.decide("default", approval.id, "approve", "ann")


async def test_an_approval_that_nobody_gives_expires(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([TWO, text("Nobody was there.")], [find, refund], guard=asking(), approval_seconds=60)
    run = await bench.work(await bench.start())
    assert run.status == "waiting_approval"
    bench.clock.forward(61)
    await bench.journal.expire_approvals()
    run = await bench.work(run)
    assert run.status == "succeeded"
    assert "nobody approved it in time" in bench.model.requests[1].messages[-1].text
    assert ran == ["find 1"]


async def test_an_approval_holds_only_for_the_policy_it_was_given_under(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([TWO, text("done")], [find, refund], guard=asking())
    run = await bench.work(await bench.start())
    (approval,) = (await bench.journal.approvals("default")).data
    await bench.journal.decide("default", approval.id, "approve", "ann")
    policy = bench.guard.policy
    bench.guard = RuleGuard(
        on(Stage.TOOL_CALL, Action.ASK, tool="refund"),
        policy=type(policy)(policy.name, "2", "another hash", policy.document),
    )
    run = await bench.work(run)
    assert run.status == "waiting_approval"
    assert ran == ["find 1"]
    assert len((await bench.journal.approvals("default", status="pending")).data) == 1


async def test_an_approval_holds_for_one_call_only(make_bench: Callable[..., Any]) -> None:
    again = calls(("refund", {"order_id": 1, "amount": 5}))
    bench = make_bench([again, again, text("done")], [refund], guard=asking())
    run = await bench.work(await bench.start())
    (approval,) = (await bench.journal.approvals("default")).data
    await bench.journal.decide("default", approval.id, "approve", "ann")
    run = await bench.work(run)
    assert run.status == "waiting_approval"
    assert len(ran) == 1


async def test_a_waiting_run_can_be_cancelled(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([TWO], [find, refund], guard=asking())
    run = await bench.work(await bench.start())
    run = await cancel(bench.journal, "default", run.id, "ann")
    assert (run.status, run.stop_reason) == ("cancelled", "cancel")
    (approval,) = (await bench.journal.approvals("default")).data
    assert approval.status == "expired"


# -- budgets --------------------------------------------------------------------------------------


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
    run = await bench.work(await bench.start(budget=Budget(seconds=0.05)))
    assert (run.status, run.stop_reason) == ("failed", "budget_seconds")
    assert text_of(run.output) == "half"
    assert run.usage.completion_tokens == 1


# -- stopping -------------------------------------------------------------------------------------


def stop_all(clock: Any, epoch: int = 1) -> InterruptSnapshot:
    interrupt = Interrupt(id="int_1", scope="all", epoch=epoch, created_at=clock())
    return InterruptSnapshot(epoch, (interrupt,))


async def test_interrupt_in_the_middle_of_an_answer(make_bench: Callable[..., Any]) -> None:
    async def pulled() -> None:
        bench.snapshot = stop_all(bench.clock)
        await asyncio.Event().wait()

    bench = make_bench([[text("Once upon")[0], pulled()], text("Now done.")])
    run = await bench.work(await bench.start())
    assert (run.status, run.stop_reason) == ("interrupted", "interrupt")
    assert text_of(run.output) == "Once upon"
    assert bench.hosts.killed == [run.id]
    # Latched: a new worker ends the resumed run at once, until the interrupt is cleared.
    await resume(bench.journal, "default", run.id)
    assert (await bench.work(run)).status == "interrupted"
    assert len(bench.model.requests) == 1
    bench.snapshot = InterruptSnapshot(2, ())
    await resume(bench.journal, "default", run.id)
    run = await bench.work(run)
    assert (run.status, text_of(run.output)) == ("succeeded", "Now done.")


async def test_interrupt_kills_a_running_tool(make_bench: Callable[..., Any]) -> None:
    ended = asyncio.Event()

    @tool(effect="pure")
    async def hang() -> str:
        """Never returns."""
        bench.snapshot = stop_all(bench.clock)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    bench = make_bench([calls(("hang", {}))], [hang])
    run = await bench.work(await bench.start())
    assert run.status == "interrupted"
    assert ended.is_set()


async def test_cancel_takes_effect_at_the_next_step(make_bench: Callable[..., Any]) -> None:
    @tool(effect="pure")
    async def cancel_me() -> str:
        """The owner cancels meanwhile."""
        await cancel(bench.journal, "default", run.id, "ann")
        return "the call is finished all the same"

    bench = make_bench([calls(("cancel_me", {}))], [cancel_me])
    run = await bench.start()
    run = await bench.work(run)
    assert (run.status, run.stop_reason) == ("cancelled", "cancel")
    assert tail(await bench.events(run))[-1] == "run.ended"
    assert "tool.result" in tail(await bench.events(run))
    with pytest.raises(Conflict, match="already ended"):
        await cancel(bench.journal, "default", run.id)


async def test_drain_gives_runs_back_after_their_step(make_bench: Callable[..., Any]) -> None:
    @tool(effect="pure")
    async def drained() -> str:
        """The worker is told to stop meanwhile."""
        worker.drain()
        return "ok"

    bench = make_bench([calls(("drained", {})), text("done")], [drained])
    run = await bench.start()
    worker = bench.worker()
    await worker.run()
    run = await bench.get(run)
    assert run.status == "queued"
    assert tail(await bench.events(run))[-2:] == ["tool.result", "run.released"]
    assert (await bench.work(run)).status == "succeeded"


async def test_a_model_that_is_away_for_a_moment_is_asked_again(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([[ModelUnavailable("restarting")], text("back")])
    assert text_of((await bench.work(await bench.start())).output) == "back"


async def test_a_fault_of_ours_fails_the_run_and_not_the_worker(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([[ZeroDivisionError("oops")], text("fine")])
    first = await bench.work(await bench.start())
    assert (first.status, first.error.code) == (RunStatus.FAILED, "internal_error")
    assert "oops" in first.error.message
    assert (await bench.work(await bench.start())).status == "succeeded"


# -- context --------------------------------------------------------------------------------------


async def test_the_session_is_remembered(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("Hello Ann."), text("You are Ann."), text("Who?")])
    await bench.work(await bench.start("I am Ann."))
    await bench.work(await bench.start("Who am I?"))
    await bench.work(await bench.start("Who am I?", session_id="another"))
    remembered = [message.text for message in bench.model.requests[1].messages[1:]]
    assert remembered == ["I am Ann.", "Hello Ann.", "Who am I?"]
    assert len(bench.model.requests[2].messages) == 2
    assert bench.guard.subjects[-1].context.user_text == "Who am I?"


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
    from agent.run import RESUMABLE

    assert {reason for reason in StopReason if reason.startswith("budget")} <= RESUMABLE
