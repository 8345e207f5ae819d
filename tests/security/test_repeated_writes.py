"""A write that its session has made is not made again unasked, however much was done since; on all journals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.fakes import calls, text
from agent.subagent import tool_name
from flightloop.runs import Origin, Run, RunStatus
from flightloop.tool import tool
from guardrails.guard import Guard
from guardrails.policy import default_policy
from tests.agent.conftest import clock, created, journal, make_bench
from tests.agent.families import agent, family_of

__all__ = ["clock", "journal", "make_bench"]
done: list[str] = []
SINCE = 24
"""Runs after the write: more than one would read to find it."""


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@tool(effect="keyed")
def pay(to: str) -> str:
    """Pays a bill."""
    done.append(to)
    return f"{to} was paid"


@tool(effect="pure")
def look(day: int) -> str:
    """What happened on a day."""
    return f"nothing on day {day}"


PAY, LOOK = ("pay", {"to": "Ada"}), ("look", {"day": 3})


@pytest.fixture
def make_office(make_bench: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *script, **spec: make_bench(script, [pay, look], guard=Guard(default_policy()), **spec)


async def test_after_many_runs_of_the_session(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(PAY), text("Ada was paid."), *[calls(LOOK), text("Nothing.")] * SINCE, calls(PAY))
    await bench.work(await bench.start("Pay Ada", session_id="s"))
    for _ in range(SINCE):
        await bench.work(await bench.start("What happened?", session_id="s"))
    run = await bench.work(await bench.start("And now?", session_id="s"))
    assert (run.status, done) == ("waiting_approval", ["Ada"])


async def test_after_many_runs_for_the_same_one(make_bench: Callable[..., Any]) -> None:
    desk = agent("desk", "clerk", budget={"steps": 4 * SINCE, "tokens": 1_000_000})
    clerk = agent("clerk", tools=["pay", "look"])
    task = calls((tool_name("clerk"), {"task": "See to it"}))
    looks = [task, calls(LOOK), text("Nothing.")] * SINCE
    script = [task, calls(PAY), text("Ada was paid."), *looks, task, calls(PAY)]
    bench = family_of(make_bench(script), [desk, clerk], [pay, look], guards=Guard)
    run = await bench.start("Pay Ada", agent="desk")

    async def asks() -> bool:
        return bool((await bench.journal.runs(run.tenant_id, status=RunStatus.WAITING_APPROVAL)).data)

    await bench.until(asks)
    assert done == ["Ada"]


async def test_in_a_fork(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(LOOK), calls(PAY), text("Ada was paid."), calls(PAY))
    run = await bench.work(await bench.start("Pay Ada"))
    forked = await bench.work(await fork(bench, run, step=1))
    assert forked.session_id != run.session_id
    assert (forked.status, done) == ("waiting_approval", ["Ada"])


async def test_that_failed_it_is_made_again(make_office: Callable[..., Any]) -> None:
    bench = make_office(calls(("pay", {"to": 7})), text("No."), calls(PAY), text("Ada was paid."))
    await bench.work(await bench.start("Pay Ada", session_id="s"))
    run = await bench.work(await bench.start("Go on", session_id="s"))
    assert (run.status, done) == ("succeeded", ["Ada"])


async def fork(bench: Any, run: Run, step: int) -> Run:
    asked = created(agent=run.agent, session_id="another", budget=run.budget, origin=Origin(run_id=run.id, step=step))
    return (await bench.journal.create(asked)).run  # type: ignore[no-any-return]
