"""What the guard's rulings and a person's decisions do to a run, on both journals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.models.answer_chunks import calls, plan, text
from agent.run.commands import cancel
from agent.testing.fakes import RuleGuard, on
from flightloop.content import text_of
from flightloop.errors import Conflict
from flightloop.events import ToolResult
from flightloop.tool import ToolContext, tool
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.types import Checked

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


async def test_a_plan_is_checked_as_it_is_and_not_as_the_one_before(make_bench: Callable[..., Any]) -> None:
    plans: list[tuple[str, ...]] = []

    def no_refunds(checked: Checked) -> Action | None:
        if checked.stage is not Stage.PLAN:
            return None
        plans.append(checked.context.plan)
        return Action.BLOCK if "refund" in checked.context.plan else Action.ALLOW

    script = [plan("pay back", "refund"), plan("answer"), text("no")]
    bench = make_bench(script, [refund], guard=RuleGuard(no_refunds), planning=True)
    run = await bench.work(await bench.start())
    assert (run.status, run.plan) == ("succeeded", [])
    assert plans == [("refund",), ()]


LOCKED = """\
name: locked
version: 1
tools: {provenance: allow, allow: {"*": ["*"]}, lock_to_plan: block}
stages: {input: {rails: []}, plan: {rails: []}, tool_result: {rails: []}, final: {rails: []}}
"""


async def test_a_lock_to_the_plan_leaves_the_plan_itself_free(make_bench: Callable[..., Any]) -> None:
    guard = Guard(parse_policy(LOCKED))
    pay = ("refund", {"order_id": 1, "amount": 5})
    bench = make_bench([plan("pay back", "refund"), calls(pay), text("ok")], [refund], guard=guard, planning=True)
    run = await bench.work(await bench.start("Pay 5 back for order 1."))
    assert (run.status, run.plan) == ("succeeded", ["refund"])
    assert len(ran) == 1
    bench = make_bench([plan("talk"), calls(pay), text("no")], [refund], guard=guard, planning=True, replans=0)
    assert (await bench.work(await bench.start("Pay 5 back for order 1."))).plan == []
    assert bench.model.requests[1].tools is None
    assert len(ran) == 1


UNSURE = """\
name: unsure
version: 1
tools: {provenance: allow, allow: {"*": ["*"]}, ask: [{effect: transactional, confidence_below: 0.5}]}
stages: {input: {rails: []}, plan: {rails: []}, tool_result: {rails: []}, final: {rails: []}}
"""


@pytest.mark.parametrize(("confidence", "status"), [(0.4, "waiting_approval"), (0.6, "succeeded")])
async def test_a_person_decides_about_a_write_that_the_model_is_unsure_of(
    confidence: float, status: str, make_bench: Callable[..., Any]
) -> None:
    pay, look = ("refund", {"order_id": 1, "amount": 5}), calls(("find", {"order_id": 1}), confidence=0.1)
    script = [look, calls(pay, confidence=confidence), text("ok")]
    bench = make_bench(script, [refund, find], guard=Guard(parse_policy(UNSURE)))
    run = await bench.work(await bench.start("Pay 5 back for order 1."))
    assert run.status == status
    assert [each.split()[0] for each in ran] == ["find", *(["refund"] if status == "succeeded" else [])]


async def test_a_blocked_call_is_not_performed(make_bench: Callable[..., Any]) -> None:
    guard = RuleGuard(on(Stage.TOOL_CALL, Action.BLOCK, tool="refund"))
    bench = make_bench([calls(("refund", {"order_id": 1, "amount": 5})), text("no")], [refund], guard=guard)
    run = await bench.work(await bench.start())
    assert run.status == "succeeded"
    assert ran == []
    assert "not allowed: " in bench.model.requests[1].messages[-1].text


@tool(effect="pure")
def stumble(secret: str) -> str:
    """Raises."""
    raise RuntimeError(f"cannot log in with {secret}")


def where_it_raised(ruling: Action | str | None) -> RuleGuard:
    """A guard that says this of tracebacks, and nothing of what the model reads."""

    def rule(checked: Checked) -> Action | str | None:
        return ruling if checked.stage is Stage.TOOL_RESULT and "File" in checked.text else None

    return RuleGuard(rule)


@pytest.mark.parametrize(
    ("ruling", "kept"),
    [
        (None, "cannot log in with xyzzy"),
        ("File [redacted]", "File [redacted]"),
        (Action.BLOCK, None),
        (Action.ASK, None),
    ],
)
async def test_people_see_where_a_tool_raised_and_the_model_does_not(
    make_bench: Callable[..., Any], ruling: Action | str | None, kept: str | None
) -> None:
    script = [calls(("stumble", {"secret": "xyzzy"})), text("Sorry.")]
    bench = make_bench(script, [stumble], guard=where_it_raised(ruling))
    with capture_logs() as logs:
        run = await bench.work(await bench.start())
    (result,) = [event for event in await bench.events(run) if isinstance(event, ToolResult)]
    assert (result.ok, result.error) == (False, "RuntimeError: cannot log in with xyzzy")
    assert (result.traceback or "")[-len(kept or "") :] == (kept or "")
    assert ("xyzzy" in (result.traceback or "")) is (ruling is None)
    assert not result.tainted
    assert [(log["tool"], log["exception"]) for log in logs if log["event"] == "a tool raised"] == [
        ("stumble", result.traceback)
    ]
    seen = bench.model.requests[1].model_dump_json()
    assert "cannot log in with xyzzy" in seen
    assert "test_gate.py" not in seen
    assert "File [redacted]" not in seen


async def test_a_withheld_result_never_reaches_the_model(make_bench: Callable[..., Any]) -> None:
    guard = RuleGuard(on(Stage.TOOL_RESULT, Action.BLOCK))
    bench = make_bench([calls(("find", {"order_id": 7})), text("hm")], [find], guard=guard)
    await bench.work(await bench.start())
    assert ran == ["find 7"]
    seen = bench.model.requests[1].messages[-1].text
    assert "withheld" in seen
    assert "sent" not in seen


# -- approvals ---


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


async def test_nobody_is_asked_twice_about_what_he_has_denied(make_bench: Callable[..., Any]) -> None:
    again = calls(("refund", {"order_id": 1, "amount": 5.0}))
    bench = make_bench(
        [again, again, text("It stays as it is.")], [refund], guard=RuleGuard(on(Stage.TOOL_CALL, Action.ASK))
    )
    run = await bench.work(await bench.start())
    (approval,) = await bench.journal.run_approvals(run.id)
    await bench.journal.decide("default", approval.id, "deny", "ann", "no")
    run = await bench.work(run)
    assert (run.status, text_of(run.output), ran) == ("succeeded", "It stays as it is.", [])
    assert len(await bench.journal.run_approvals(run.id)) == 1
