"""Interrupt, cancel, drain and faults in the middle of a run, on both journals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from agent.run.commands import cancel, resume
from flightloop.content import text_of
from flightloop.errors import Conflict, ModelUnavailable
from flightloop.runs import Interrupt, RunStatus
from flightloop.tool import tool
from guardrails.interrupt import InterruptSnapshot


def tail(events: list[Any]) -> list[str]:
    return [
        event.type for event in events if event.type not in ("verdict", "checks.passed", "run.created", "run.started")
    ]


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


async def test_cancel_ends_calls_that_last_and_begins_no_further_one(make_bench: Callable[..., Any]) -> None:
    @tool(effect="unsafe")
    async def hang(n: int) -> str:
        """The owner cancels meanwhile."""
        begun.append(n)
        await cancel(bench.journal, "default", run.id, "ann")
        await asyncio.Event().wait()
        return ""

    begun: list[int] = []
    bench = make_bench([calls(("hang", {"n": 1}), ("hang", {"n": 2}))], [hang], parallel_calls=1)
    run = await bench.start()
    run = await bench.work(run)
    assert (run.status, begun) == ("cancelled", [1])
    results = [event for event in await bench.events(run) if event.type == "tool.result"]
    assert [result.error for result in results] == ["the call was stopped"]


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
