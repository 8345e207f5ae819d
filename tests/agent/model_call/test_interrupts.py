"""One reader of the emergency stop for all open answers of a process."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from agent.model_call.interrupts import Interrupts
from flightloop.chat import Tags
from flightloop.runs import Interrupt
from guardrails.interrupt import InterruptSnapshot

NOBODY = InterruptSnapshot(1, ())


def stops(agent: str, epoch: int = 2) -> InterruptSnapshot:
    raised = Interrupt(
        id="i", tenant_id="default", scope="agent", target=agent, epoch=epoch, created_at=datetime.now(UTC)
    )
    return InterruptSnapshot(epoch, (raised,))


class Store:
    """Gives what it is told to give, and counts."""

    def __init__(self) -> None:
        self.snapshot: InterruptSnapshot | None = NOBODY
        self.reads = 0
        self.read_again = asyncio.Event()

    async def read(self) -> InterruptSnapshot:
        self.reads += 1
        self.read_again.set()
        if self.snapshot is None:
            raise ConnectionError("the store is away")
        return self.snapshot

    async def next_read(self) -> None:
        self.read_again.clear()
        await self.read_again.wait()


def waiting(interrupts: Interrupts, agent: str) -> asyncio.Task[None]:
    return asyncio.create_task(interrupts.raised(Tags(agent=agent), epoch=1))


async def test_answers_are_stopped_by_what_covers_them_alone() -> None:
    store = Store()
    interrupts = Interrupts(store.read, poll_s=0.001, max_silence_s=5.0)
    ours, theirs = waiting(interrupts, "ours"), waiting(interrupts, "theirs")
    await store.next_read()
    store.snapshot = stops("ours")
    await ours
    assert not theirs.done()
    store.snapshot = stops("theirs", epoch=3)
    await theirs


async def test_many_answers_cost_one_reader_and_none_costs_nothing() -> None:
    store = Store()
    interrupts = Interrupts(store.read, poll_s=0.001, max_silence_s=5.0)
    await asyncio.sleep(0)
    assert store.reads == 0
    many = [waiting(interrupts, "a") for _ in range(200)]
    for _ in range(3):
        await store.next_read()
    assert store.reads <= 4
    for each in many:
        each.cancel()
    await asyncio.gather(*many, return_exceptions=True)
    await asyncio.sleep(0.01)  # the reader finds nobody and ends
    reads = store.reads
    await asyncio.sleep(0.01)
    assert store.reads == reads


async def test_a_store_that_is_away_for_too_long_stops_everything() -> None:
    store = Store()
    store.snapshot = None
    await waiting(Interrupts(store.read, poll_s=0.001, max_silence_s=0.01), "a")


async def test_a_store_that_comes_back_stops_nothing() -> None:
    store = Store()
    store.snapshot = None
    answer = waiting(Interrupts(store.read, poll_s=0.001, max_silence_s=30.0), "a")
    await store.next_read()
    store.snapshot = NOBODY
    await store.next_read()
    await store.next_read()
    assert not answer.done()
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer


async def test_who_comes_after_a_pause_is_not_stopped_by_the_silence_of_the_pause() -> None:
    store = Store()
    interrupts = Interrupts(store.read, poll_s=0.001, max_silence_s=0.5)
    first = waiting(interrupts, "a")
    await store.next_read()
    store.snapshot = stops("a")
    await first
    store.snapshot = NOBODY
    await asyncio.sleep(0)
    second = waiting(interrupts, "a")
    await store.next_read()
    await store.next_read()
    assert not second.done()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
