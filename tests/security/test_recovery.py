"""A call that was broken off is performed again only if it could be made now: by agent, policy and approval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.loop.perform import UNKNOWN
from agent.models.answer_chunks import calls, text
from agent.testing.fakes import RuleGuard, on
from flightloop.events import ToolResult
from flightloop.runs import Run
from flightloop.tool import Effect, tool, tool_of
from flightloop.verdicts import Action, Stage
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.types import Checked, Ruling
from tests.agent.conftest import Bench
from tests.security.benches import bench

REPEATABLE = [Effect.PURE, Effect.KEYED, Effect.TRANSACTIONAL]


def guard(rules: str = "", allow: str = "'*'", version: str = "1") -> Guard:
    tools = f"  provenance: allow\n  allow: {{helper: [{allow}]}}\n{rules}"
    return Guard(parse_policy(f"name: desk\nversion: '{version}'\ntools:\n{tools}"))


ASKING = "  ask: [{tool: pay}]\n"
OTHERS = {
    "denied": lambda bench: setattr(bench, "guard", guard(allow="other")),
    "taken from the agent": lambda bench: setattr(bench, "agent", bench.agent.model_copy(update={"tools": ()})),
    "blocked": lambda bench: setattr(bench, "guard", RuleGuard(on(Stage.TOOL_CALL, Action.BLOCK))),
    "another call": lambda bench: setattr(bench, "guard", Redacting({"to": "Eve", "amount": 5})),
}
"""What makes a call one that could not be made any more."""


class Redacting(RuleGuard):
    """Puts other arguments in the place of a call's."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__()
        self._arguments = arguments

    async def check(self, checked: Checked) -> Ruling:
        ruling = await super().check(checked)
        if checked.stage is not Stage.TOOL_CALL:
            return ruling
        return replace(ruling, action=Action.REDACT, arguments=self._arguments)


def paying(effect: Effect, performed: list[tuple[str, Any]]) -> Any:
    @tool(effect=effect)
    async def pay(to: str, amount: float) -> str:
        """Pays. The first time it is broken off."""
        performed.append((to, amount))
        if len(performed) == 1:
            await asyncio.Event().wait()
        return "paid"

    return tool_of(pay)


async def broken_off(bench: Bench, performed: list[Any], run: Run) -> None:
    """A worker begins the call and loses its lease."""

    async def begun() -> bool:
        if performed:
            bench.clock.forward(31)
        return bool(performed)

    await bench.until(begun, bench.worker("old", concurrency=1))


async def settled(bench: Bench, run: Run) -> Run:
    """By another worker, whose runs are not those of the first one."""

    async def done() -> bool:
        return (await bench.get(run)).status not in ("queued", "running")

    await bench.until(done, bench.worker("new"))
    return await bench.get(run)


async def result(bench: Bench, run: Run) -> ToolResult:
    (told,) = [event for event in await bench.events(run) if isinstance(event, ToolResult)]
    return told


def desk(tmp_path: Path, effect: Effect, performed: list[Any], **given: Any) -> Bench:
    pay = calls(("pay", {"to": "Ann", "amount": 5}))
    return bench(tmp_path, pay, text("All right."), tools=[paying(effect, performed)], **given)


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("effect", REPEATABLE)
async def test_what_may_not_be_called_any_more_is_not_performed_again(
    tmp_path: Path, effect: Effect, change: Callable[[Bench], None]
) -> None:
    performed: list[Any] = []
    bench = desk(tmp_path, effect, performed)
    await broken_off(bench, performed, run := await bench.start())
    change(bench)
    assert (await settled(bench, run)).status == "succeeded"
    assert len(performed) == 1
    told = await result(bench, run)
    assert not told.ok
    assert told.error.startswith(UNKNOWN) == (effect is not Effect.PURE)  # it may have happened before that


@pytest.mark.parametrize("effect", REPEATABLE)
async def test_what_may_is_performed_again(tmp_path: Path, effect: Effect) -> None:
    performed: list[Any] = []
    bench = desk(tmp_path, effect, performed)
    await broken_off(bench, performed, run := await bench.start())
    bench.guard = guard(version="2")
    assert (await settled(bench, run)).status == "succeeded"
    assert performed == [("Ann", 5), ("Ann", 5)]
    assert [key for _, key in bench.hosts.attempts] == [f"{run.id}:1:0"] * 2
    assert (await result(bench, run)).content == "paid"


async def test_an_unsafe_call_is_not_whatever_its_tool_says_now(tmp_path: Path) -> None:
    performed: list[Any] = []
    bench = desk(tmp_path, Effect.KEYED, performed)
    await broken_off(bench, performed, run := await bench.start())
    bench.hosts = type(bench.hosts)([paying(Effect.UNSAFE, performed)])
    await settled(bench, run)
    assert (len(performed), (await result(bench, run)).error) == (1, UNKNOWN)


@pytest.mark.parametrize(("decision", "times"), [("approve", 2), ("deny", 1)])
async def test_a_policy_that_asks_now_makes_it_wait(tmp_path: Path, decision: Any, times: int) -> None:
    performed: list[Any] = []
    bench = desk(tmp_path, Effect.KEYED, performed)
    await broken_off(bench, performed, run := await bench.start())
    bench.guard = guard(ASKING)
    assert (await settled(bench, run)).status == "waiting_approval"
    assert len(performed) == 1
    (approval,) = (await bench.journal.approvals("default", status="pending")).data
    assert approval.arguments == {"to": "Ann", "amount": 5}
    await bench.journal.decide("default", approval.id, decision, "ann")
    assert (await settled(bench, run)).status == "succeeded"
    assert len(performed) == times
    told = await result(bench, run)
    assert told.ok if decision == "approve" else told.error.startswith(UNKNOWN)


@pytest.mark.parametrize(("version", "status"), [("1", "succeeded"), ("2", "waiting_approval")])
async def test_an_approval_holds_for_its_own_policy(tmp_path: Path, version: str, status: str) -> None:
    performed: list[Any] = []
    bench = desk(tmp_path, Effect.KEYED, performed, guard=guard(ASKING))
    run = await bench.work(await bench.start())
    (approval,) = (await bench.journal.approvals("default", status="pending")).data
    await bench.journal.decide("default", approval.id, "approve", "ann")
    await broken_off(bench, performed, run)
    bench.guard = guard(ASKING, version=version)
    assert (await settled(bench, run)).status == status
    assert len(performed) == (2 if status == "succeeded" else 1)


async def test_what_was_redacted_is_performed_again_as_it_was(tmp_path: Path) -> None:
    performed: list[Any] = []
    bench = desk(tmp_path, Effect.KEYED, performed, guard=Redacting({"to": "[name]", "amount": 5}))
    await broken_off(bench, performed, run := await bench.start())
    assert (await settled(bench, run)).status == "succeeded"
    assert performed == [("[name]", 5)] * 2
