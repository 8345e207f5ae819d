"""Waiting for a run over the API, until it has ended or a person has to decide."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agent.api import create_app
from agent.mcp_server.watching import RunWatch
from agent.models.answer_chunks import calls, text
from agent.serve.http_server import running
from agent.testing.api import KEY, api_deps
from agent.testing.fakes import RuleGuard, on
from flightloop import AsyncFlightloop
from flightloop.content import text_of
from flightloop.events import RunEvent
from flightloop.tool import tool
from flightloop.verdicts import Action, Stage
from guardrails.policy import Policy
from guardrails.types import Guarding
from tests.agent.families import agent, family_of


async def test_who_waits_for_a_run_is_told_what_the_other_agents_wait_for(make_bench: Callable[..., Any]) -> None:
    """An MCP client's user, who gave the first run its task, decides about calls of those that work for it."""
    waiting = agent("billing", tools=["pay"])

    @tool(effect="unsafe")
    def pay() -> str:
        """Pays."""
        return "paid"

    def guards(policy: Policy) -> Guarding:
        return RuleGuard(on(Stage.TOOL_CALL, Action.ASK, tool="pay"), policy=policy)

    script = [calls(("ask_billing", {"task": "Pay order 7."})), calls(("pay", {})), text("Paid."), text("It is paid.")]
    bench = family_of(make_bench(script), (agent("desk", "billing"), waiting), [pay], guards)
    run = await bench.start(agent="desk")
    told: list[RunEvent] = []

    async def tell(event: RunEvent) -> None:
        told.append(event)

    worker = bench.worker()
    working = asyncio.create_task(worker.run())
    deps = api_deps(journal=bench.journal, keys=bench.journal.keys)
    async with running(create_app(deps)) as url, AsyncFlightloop(url, KEY) as api:
        watch = RunWatch(api, run.id, tell)
        await watch.settle(20)
        (asked,) = watch.pending
        (child,) = (await bench.journal.runs("default", parent=run.id)).data
        assert (asked.run_id, asked.tool) == (child.id, "pay")
        assert (await bench.get(run)).status == "waiting_agent"
        later = RunWatch(api, run.id, tell)  # somebody who comes when everything waits already
        await later.settle(0)
        assert [approval.approval_id for approval in later.pending] == [asked.approval_id]
        await api.approvals.decide(asked.approval_id, decision="approve")
        await watch.settle(20)
        assert watch.pending == []
    worker.drain()
    await working
    assert text_of((await bench.get(run)).output) == "It is paid."
    assert (told[-1].run_id, told[-1].type) == (run.id, "run.ended")
    assert {(event.run_id, event.type) for event in told} >= {(child.id, "tool.result"), (child.id, "run.ended")}
