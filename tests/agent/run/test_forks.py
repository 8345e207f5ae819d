"""A run that begins with the first steps of another one: nothing of them happens again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from agent.run.journal import Idempotency
from agent.run.state import fold
from agent.testing.fakes import RuleGuard, on
from flightloop.content import text_of
from flightloop.errors import Conflict, IdempotencyMismatch, InvalidRequest, NotFound
from flightloop.events import RunCreated
from flightloop.runs import Budget, Origin, Run
from flightloop.tool import tool
from flightloop.verdicts import Action, Stage
from observability.catalog import RUN_DECISIONS, TOOL_CALLS
from observability.projection import JournalProjection

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool(effect="unsafe")
def find(order_id: int) -> str:
    """Finds an order."""
    ran.append(f"find {order_id}")
    return f"order {order_id} was sent"


def fork_of(run: Run, step: int, **fields: Any) -> RunCreated:
    known = {"agent": run.agent, "session_id": "other", "input": run.input, "budget": run.budget}
    return RunCreated.model_validate({**known, "origin": Origin(run_id=run.id, step=step), **fields})


async def test_it_goes_on_from_there(make_bench: Callable[..., Any]) -> None:
    first = [calls(("find", {"order_id": 7})), calls(("find", {"order_id": 8})), text("Both were sent.")]
    bench = make_bench([*first, text("One was sent.")], [find])
    run = await bench.work(await bench.start())
    forked = (await bench.journal.create(fork_of(run, 1, input="And now?", model="another"))).run
    assert (forked.usage.steps, forked.usage.tokens, forked.usage.cost) == (1, 0, 0.0)
    ended = await bench.work(forked)
    assert text_of(ended.output) == "One was sent."
    assert ran == ["find 7", "find 8"]
    asked = bench.model.requests[-1]
    assert asked.model == "another"
    told = [message.text for message in asked.messages]
    assert told[-3:] == ["And now?", "", "order 7 was sent"]
    events = await bench.events(ended)
    assert [event.type for event in events if event.copied] == ["decision.calls", "tool.intent", "tool.result"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert fold(events) == ended
    # What was copied isn't counted again.
    figures = JournalProjection()
    for recorded in await bench.journal.read_all():
        figures.apply(recorded.position, recorded.tenant_id, recorded.event)
    assert sum(figures.values().by(TOOL_CALLS, "tool").values()) == 2
    assert sum(figures.values().by(RUN_DECISIONS, "agent").values()) == 4


async def test_a_fork_of_a_fork_and_one_that_begins_again(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([calls(("find", {"order_id": 7})), text("Sent."), text("Sent!"), text("No idea.")], [find])
    run = await bench.work(await bench.start())
    once = await bench.work((await bench.journal.create(fork_of(run, 1))).run)
    assert text_of(once.output) == "Sent!"
    again = await bench.work((await bench.journal.create(fork_of(once, 0))).run)
    assert (text_of(again.output), again.usage.steps) == ("No idea.", 1)
    twice = (await bench.journal.create(fork_of(once, 1))).run
    assert twice.origin == Origin(run_id=once.id, step=1)
    assert ran == ["find 7"]


async def test_the_session_before_the_origin_is_remembered(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("I am Ada."), text("Hello."), text("Yes."), text("Still.")])
    await bench.work(await bench.start("Who are you?"))
    run = await bench.work(await bench.start("Hello?"))
    forked = await bench.work((await bench.journal.create(fork_of(run, 0, input="Are you Ada?"))).run)
    said = [message.text for message in bench.model.requests[-1].messages]
    assert said[1:] == ["Who are you?", "I am Ada.", "Are you Ada?"]
    await bench.work(await bench.start("And now?", session_id=forked.session_id))
    said = [message.text for message in bench.model.requests[-1].messages]
    assert said[1:] == ["Who are you?", "I am Ada.", "Are you Ada?", "Yes.", "And now?"]


async def test_where_it_cannot_be_forked(make_bench: Callable[..., Any]) -> None:
    asks = RuleGuard(on(Stage.TOOL_CALL, Action.ASK))
    bench = make_bench([calls(("find", {"order_id": 7})), text("Sent.")], [find], guard=asks)
    run = await bench.work(await bench.start())
    with pytest.raises(Conflict, match="without a result"):
        await bench.journal.create(fork_of(run, 1))
    with pytest.raises(InvalidRequest, match="has 1 steps"):
        await bench.journal.create(fork_of(run, 2))
    with pytest.raises(NotFound):
        await bench.journal.create(fork_of(run, 0, tenant_id="another"))
    (approval,) = (await bench.journal.approvals("default")).data
    await bench.journal.decide("default", approval.id, "approve", "a person")
    run = await bench.work(run)
    with pytest.raises(Conflict, match="is its final answer"):
        await bench.journal.create(fork_of(run, 2))


async def test_a_repeated_request_makes_one_fork(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("Hello.")])
    run = await bench.work(await bench.start())
    made = [await bench.journal.create(fork_of(run, 0), Idempotency("key", "a")) for _ in range(2)]
    assert made[0].run.id == made[1].run.id
    with pytest.raises(IdempotencyMismatch):
        await bench.journal.create(fork_of(run, 0), Idempotency("key", "b"))


async def test_steps_that_were_taken_over_are_not_used_up(make_bench: Callable[..., Any]) -> None:
    asked = [calls(("find", {"order_id": number})) for number in range(2)]
    bench = make_bench([*asked, text("Found."), text("Again."), calls(("find", {"order_id": 3}))], [find])
    run = await bench.work(await bench.start())
    forked = (await bench.journal.create(fork_of(run, 2, budget=Budget(steps=1)))).run
    assert text_of((await bench.work(forked)).output) == "Again."
    spent = (await bench.journal.create(fork_of(run, 2, budget=Budget(steps=1)))).run
    assert (await bench.work(spent)).stop_reason == "budget_steps"
