"""The worker beside the loop: how many runs, whose runs, and what it does about a lost lease."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agent.models.answer_chunks import calls, text
from agent.run.commands import interrupt
from agent.store import StoreJournal
from flightloop.tool import tool
from guardrails.interrupt import InterruptSnapshot, InterruptWatch


async def test_runs_go_on_side_by_side_up_to_the_limit(make_bench: Callable[..., Any]) -> None:
    inside, most = 0, 0
    full = asyncio.Event()

    @tool(effect="pure")
    async def busy() -> str:
        """Waits until two are inside."""
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 2:
            full.set()
        await asyncio.wait_for(full.wait(), 10)
        inside -= 1
        return "done"

    busily = calls(("busy", {}))
    bench = make_bench([busily, busily, text("ok"), text("ok"), busily, text("ok")], [busy])
    runs = [await bench.start(session_id=f"s{n}") for n in range(3)]

    async def all_ended() -> bool:
        return all([(await bench.get(run)).status.terminal for run in runs])

    await bench.until(all_ended, bench.worker(concurrency=2))
    assert most == 2
    assert {(await bench.get(run)).status for run in runs} == {"succeeded"}


async def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(make_bench: Callable[..., Any]) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    bench = make_bench([[hang()], text("by the other")])
    run = await bench.start()
    old, new = bench.worker("old", concurrency=1), bench.worker("new")  # the old one is at no other claim meanwhile
    old_task = asyncio.create_task(old.run())
    await asyncio.wait_for(started.wait(), 10)
    old.drain()  # or it would claim the run again itself
    bench.clock.forward(31)  # the lease is over: the old worker finds out by itself
    await asyncio.wait_for(stopped.wait(), 10)
    await old_task

    async def ended() -> bool:
        return (await bench.get(run)).status.terminal

    await bench.until(ended, new)
    events = await bench.events(run)
    assert [event.worker for event in events if event.type == "run.started"] == ["old", "new"]
    assert (await bench.get(run)).status == "succeeded"
    assert (await bench.get(run)).usage.steps == 1


async def test_an_interrupt_of_one_run_leaves_the_others_alone(make_bench: Callable[..., Any]) -> None:
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    bench = make_bench([[hang()], text("fine")])
    first = await bench.start()

    async def both_settled() -> bool:
        if not begun.is_set():
            return False
        if not settled:
            settled.append(await interrupt(bench.journal, "default", first.id, "ann"))
            settled.append(await bench.start(session_id="s2"))
        snapshot = await bench.journal.interrupt_snapshot()
        bench.snapshot = InterruptSnapshot(snapshot.epoch, snapshot.interrupts)
        return all([(await bench.get(run)).status.terminal for run in settled])

    settled: list[Any] = []
    await bench.until(both_settled)
    assert (await bench.get(first)).status == "interrupted"
    assert (await bench.get(settled[1])).status == "succeeded"


async def test_a_silent_interrupt_source_stops_everything(make_bench: Callable[..., Any]) -> None:
    def unreachable() -> InterruptSnapshot:
        raise OSError("the store is gone")

    bench = make_bench([text("never said")])
    worker = bench.worker(watch=InterruptWatch(unreachable, 5.0))
    run = await bench.start()

    async def ended() -> bool:
        return (await bench.get(run)).status.terminal

    await bench.until(ended, worker)
    assert (await bench.get(run)).status == "interrupted"
    assert bench.model.requests == []


async def test_a_source_that_gives_no_answer_holds_nobody_up(make_bench: Callable[..., Any]) -> None:
    """A database that stands still, not one that fails: what runs is stopped after the silence all the same."""
    frozen, thawed = threading.Event(), threading.Event()

    def snapshot() -> InterruptSnapshot:
        if frozen.is_set():
            thawed.wait()
        return InterruptSnapshot(0, ())

    async def hang() -> None:
        frozen.set()
        await asyncio.Event().wait()

    bench = make_bench([[hang()]])
    run = await bench.start()

    async def ended() -> bool:
        return (await bench.get(run)).status.terminal

    try:
        await bench.until(ended, bench.worker(watch=InterruptWatch(snapshot, 0.2)))
    finally:
        thawed.set()
    assert (await bench.get(run)).status == "interrupted"


async def test_a_claim_under_way_takes_nothing_once_the_worker_is_drained(
    make_bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it gives back itself, least of all."""
    bench = make_bench([text("never said")])
    worker, looked = bench.worker(), StoreJournal.claim

    async def slow(self: StoreJournal, *arguments: Any) -> Any:
        worker.drain()  # between the look for work and the claim
        return await looked(self, *arguments)

    monkeypatch.setattr(StoreJournal, "claim", slow)
    run = await bench.start()
    await worker.run()
    assert [event.type for event in await bench.events(run)] == ["run.created"]
