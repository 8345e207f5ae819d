"""What comes while a worker gives a run back that has to wait, and what a run that ended while it waited asks again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from agent.run.commands import cancel, interrupt, resume
from agent.testing.fakes import RuleGuard, on
from flightloop.errors import Conflict
from flightloop.events import RunEnded
from flightloop.runs import Run, RunStatus, StopReason
from flightloop.tool import tool
from flightloop.verdicts import Action, Stage

paid: list[str] = []


@tool(effect="unsafe")
async def pay() -> str:
    """Pays."""
    paid.append("paid")
    return "paid"


@pytest.fixture
def bench(make_bench: Callable[..., Any]) -> Any:
    """Where somebody has to approve that it pays."""
    paid.clear()
    return make_bench([calls(("pay", {})), text("done")], [pay], RuleGuard(on(Stage.TOOL_CALL, Action.ASK, tool="pay")))


async def given_back(bench: Any, command: Callable[[Run], Awaitable[Run]]) -> Run:
    """A run after a command that came between its worker's last write and its release."""
    run: Run = await bench.start()
    release, answered = bench.journal.release, []

    async def late(*given: Any, **named: Any) -> None:
        if not answered:
            answered.append(await command(run))
        await release(*given, **named)

    bench.journal.release = late

    async def settled() -> bool:
        return (await bench.get(run)).status not in (RunStatus.QUEUED, RunStatus.RUNNING)

    await bench.until(settled)
    bench.journal.release = release
    assert [each.status for each in answered] == ["running"]
    return await bench.get(run)  # type: ignore[no-any-return]


async def test_a_cancel_is_not_lost(bench: Any) -> None:
    run = await given_back(bench, lambda run: cancel(bench.journal, "default", run.id, "ann"))
    assert (run.status, run.stop_reason) == ("cancelled", "cancel")
    (approval,) = await bench.journal.run_approvals(run.id)
    assert approval.status == "expired"
    assert paid == []


async def test_nor_is_an_emergency_stop(bench: Any) -> None:
    run = await given_back(bench, lambda run: interrupt(bench.journal, "default", run.id, "ann"))
    assert (run.status, run.stop_reason) == ("interrupted", "interrupt")
    assert (await resume(bench.journal, "default", run.id)).status == "queued"


async def test_a_cancel_that_comes_as_the_run_is_released_ends_it(bench: Any) -> None:
    """The command has read that a worker holds the run, and that one lets go before the command is written."""
    run = await bench.work(await bench.start())
    assert run.status == "waiting_approval"
    get = bench.journal.get

    async def stale(*which: str) -> Run:
        bench.journal.get = get
        return run.model_copy(update={"status": RunStatus.RUNNING})

    bench.journal.get = stale
    assert (await cancel(bench.journal, "default", run.id)).status == "cancelled"


async def test_a_run_that_ended_while_it_waited_asks_again(bench: Any) -> None:
    run = await bench.work(await bench.start())
    await interrupt(bench.journal, "default", run.id)
    await resume(bench.journal, "default", run.id)
    assert (await bench.work(run)).status == "waiting_approval"
    first, second = sorted(await bench.journal.run_approvals(run.id), key=lambda each: each.created_at)
    assert (first.status, second.status) == ("expired", "pending")
    await bench.journal.decide("default", second.id, "approve", "bob")
    assert (await bench.work(run)).status == "succeeded"
    assert paid == ["paid"]


async def test_no_latch_stays_on_a_run_that_ends_meanwhile(bench: Any) -> None:
    run = await bench.work(await bench.start())
    raise_interrupt = bench.journal.raise_interrupt

    async def after_its_end(*given: Any, **named: Any) -> Any:
        ended = RunEnded(status=RunStatus.CANCELLED, stop_reason=StopReason.CANCEL)
        await bench.journal.append(run.id, [ended])
        return await raise_interrupt(*given, **named)

    bench.journal.raise_interrupt = after_its_end
    with pytest.raises(Conflict):
        await interrupt(bench.journal, "default", run.id)
    assert await bench.journal.interrupts("default") == []


async def test_a_stop_stays_latched_while_its_run_goes_from_hand_to_hand(bench: Any) -> None:
    """However often the command comes too late, whoever has the run then obeys the latch."""
    run = await bench.work(await bench.start())
    append = bench.journal.append

    async def too_late(run_id: str, *given: Any, **named: Any) -> Any:
        raise Conflict(f"run {run_id} has changed")

    bench.journal.append = too_late
    with pytest.raises(Conflict):
        await interrupt(bench.journal, "default", run.id)
    bench.journal.append = append
    assert [each.target for each in await bench.journal.interrupts("default")] == [run.id]
