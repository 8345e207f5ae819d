"""What the model sees when not everything fits, and what budgets leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.loop.context import Conversation, Estimator, Exchange, Prompt
from agent.models.answer_chunks import text
from agent.models.chat_model import Capabilities
from agent.run.budgets import Exhausted, Prices, reserve, resolve, seconds_left
from agent.run.deltas import LocalDeltas
from agent.run.history import History
from agent.run.state import RunState
from agent.testing.fakes import ScriptedChatModel
from flightloop.chat import ChatMessage, FunctionCall, ToolCall
from flightloop.content import TextPart
from flightloop.errors import ContextTooLong
from flightloop.events import CallsDecided, DeltaEvent, ModelCall, ToolResult
from flightloop.runs import Budget, Run, RunStatus, RunUsage
from flightloop.tool import tool

START = datetime(2026, 1, 1, tzinfo=UTC)


def words(count: int) -> str:
    return " ".join(["word"] * count)


def history(*results: str) -> History:
    made = History("run_1")
    for step, content in enumerate(results, start=1):
        call = ToolCall(id=f"call_{step}_0", function=FunctionCall(name="find"))
        made.add(CallsDecided(calls=[call], model=ModelCall(model="m"), step=step))
        made.add(ToolResult(call_id=call.id, tool="find", ok=True, content=content, step=step))
    return made


def talk(context_length: int | None, *earlier: Exchange) -> Conversation:
    user = [TextPart(text="And now?")]
    return Conversation("Help.", user, earlier=earlier, context_length=context_length)


def test_everything_is_there_while_it_fits() -> None:
    prompt = talk(None, Exchange("Hi", "Hello")).prompt(history("a", "b"), [])
    assert [message.role for message in prompt.messages] == [
        "system", "user", "assistant", "user", "assistant", "tool", "assistant", "tool",
    ]  # fmt: skip


def test_a_long_result_is_cut_for_the_model_only() -> None:
    past = history("x" * 10_000)
    shown = talk(1000).prompt(past, []).messages[-1].text
    assert len(shown) < 1300
    assert "more characters" in shown
    assert len(past.results[0].content) == 10_000


def test_the_estimate_follows_the_models_own_count() -> None:
    prompt = Prompt.of([ChatMessage(role="user", content=[TextPart(text=words(200))])])
    assert Estimator().learned(prompt, 208).tokens(prompt) == pytest.approx(208, abs=2)


@tool(effect="pure")
def find() -> str:
    """Finds a lot."""
    return words(400)


async def test_a_context_that_proves_too_long_is_shortened_and_asked_again(make_bench: Callable[..., Any]) -> None:
    too_long = [ContextTooLong("too long")]
    bench = make_bench([text(" ".join(map(str, range(300)))), too_long, text("short")])
    await bench.work(await bench.start(words(100)))
    run = await bench.work(await bench.start("And now?"))
    assert run.status == "succeeded"
    assert len(bench.model.requests[-1].messages) < len(bench.model.requests[1].messages)


async def test_a_run_whose_newest_turn_does_not_fit_ends(make_bench: Callable[..., Any]) -> None:
    bench = make_bench([text("?")])
    bench.model = ScriptedChatModel([text("?")], Capabilities(context_length=300))
    run = await bench.work(await bench.start(words(500)))
    assert (run.status, run.stop_reason) == ("failed", "context")


# -- budgets --------------------------------------------------------------------------------------


def state(budget: Budget, held: datetime | None = None, **usage: Any) -> RunState:
    run = Run(
        id="run_1",
        agent="a",
        session_id="s",
        status=RunStatus.RUNNING,
        input="hi",
        budget=budget,
        usage=RunUsage(**usage),
        created_at=START,
    )
    return RunState(run, held_at=held)


def test_a_client_can_only_lower_a_bound() -> None:
    agent = Budget(steps=10, tokens=1000, seconds=60)
    resolved = resolve(agent, Budget(steps=20, tokens=500, cost=1.0))
    assert resolved == Budget(steps=10, tokens=500, seconds=60, cost=1.0)


bounds = st.builds(
    Budget,
    steps=st.none() | st.integers(1, 5),
    tokens=st.none() | st.integers(1, 2000),
    seconds=st.none() | st.floats(1, 100),
    cost=st.none() | st.floats(0, 0.01),
)
used = st.builds(
    RunUsage,
    steps=st.integers(0, 6),
    prompt_tokens=st.integers(0, 1000),
    completion_tokens=st.integers(0, 1000),
    cost=st.floats(0, 0.01),
    seconds=st.floats(0, 100),
)


@given(bounds, used, st.integers(1, 500), st.integers(1, 300))
def test_a_reservation_never_leads_over_a_bound(budget: Budget, usage: RunUsage, prompt: int, answer: int) -> None:
    prices = Prices(prompt=1.0, completion=5.0)
    try:
        room = reserve(state(budget, **usage.model_dump()), START, prompt, answer, prices)
    except Exhausted:
        return
    assert 1 <= room.completion_tokens <= answer
    assert budget.steps is None or usage.steps < budget.steps
    assert budget.tokens is None or usage.tokens + prompt + room.completion_tokens <= budget.tokens
    cost = usage.cost + (prompt * 1.0 + room.completion_tokens * 5.0) / 1e6
    assert budget.cost is None or cost <= budget.cost + 1e-12
    assert room.seconds is None or room.seconds > 0


def test_seconds_count_while_the_run_is_held() -> None:
    now = START + timedelta(seconds=7)
    assert seconds_left(state(Budget(seconds=20), held=START, seconds=3.0), now) == pytest.approx(10)
    with pytest.raises(Exhausted):
        seconds_left(state(Budget(seconds=10), held=START, seconds=3.0), now)
    assert seconds_left(state(Budget()), now) is None


# -- deltas ----------------------------------------------------------------------------


async def test_a_slow_listener_loses_the_oldest_deltas() -> None:
    deltas = LocalDeltas(backlog=2)
    deltas.publish(DeltaEvent(run_id="r", text="nobody listens"))
    with deltas.listen("r") as queue:
        for piece in ("a", "b", "c"):
            deltas.publish(DeltaEvent(run_id="r", text=piece))
        deltas.publish(DeltaEvent(run_id="other", text="x"))
        assert [queue.get_nowait().text for _ in range(queue.qsize())] == ["b", "c"]
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
