from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.reporting.overview import Overviews
from agent.reporting.projector import Projector
from agent.run.commands import cancel
from agent.run.journal import Journal, Projection
from agent.store import memory_journal
from flightloop.content import TextPart
from flightloop.errors import StoreUnavailable
from flightloop.events import ApprovalRequested, CallsDecided, ModelCall, Replied, RunCreated, RunEnded
from flightloop.runs import Budget, RunStatus, StopReason
from observability import catalog
from observability.config import ObservabilityConfig
from observability.metrics import Metrics, Snapshot
from observability.values import Values


async def finished(journal: Journal, tenant: str = "default") -> None:
    made = RunCreated(agent="a", session_id="s", tenant_id=tenant, input=[TextPart(text="x")], budget=Budget())
    await journal.create(made)
    claim = await journal.claim("w", 30)
    assert claim is not None
    ended = RunEnded(status=RunStatus.SUCCEEDED, stop_reason=StopReason.ANSWERED)
    await journal.append(claim.run.id, [Replied(text="y", model=ModelCall(model="m")), ended], claim.lease)


def projector(journal: Journal, told: list[Snapshot], **fields: Any) -> Projector:
    return Projector(journal, ObservabilityConfig(), told.append, Metrics(), save_every_s=0, **fields)


async def test_figures_survive_a_crash_and_count_once() -> None:
    journal, told = memory_journal(), []
    first = projector(journal, told)
    await first.load()
    await finished(journal)
    await first.catch_up()  # saves
    await finished(journal)  # nobody saves this one before the crash
    second = projector(journal, told)
    await second.load()
    await second.catch_up()
    assert second.values().value(catalog.RUN_ENDED) == 2
    assert Values(told[-1].series).value(catalog.RUN_ENDED) == 2


async def test_two_projectors_agree() -> None:
    journal, told = memory_journal(), []
    one, two = projector(journal, told), projector(journal, told)
    await one.load()
    await two.load()
    for _ in range(3):
        await finished(journal)
        await asyncio.gather(one.catch_up(), two.catch_up())
        await two.catch_up()
    await one.catch_up()
    assert one.values().value(catalog.RUN_ENDED) == two.values().value(catalog.RUN_ENDED) == 3


async def test_its_end_saves_what_is_left() -> None:
    journal = memory_journal()
    counted = asyncio.Event()

    def sink(snapshot: Snapshot) -> None:
        if Values(snapshot.series).value(catalog.RUN_ENDED) == 1:
            counted.set()

    running = Projector(journal, ObservabilityConfig(), sink, Metrics(), every_s=0.001, save_every_s=1e9)
    task = asyncio.create_task(running.run())
    await finished(journal)
    await counted.wait()
    task.cancel()
    await asyncio.wait({task})
    stored = await journal.projection("figures")
    assert stored is not None
    assert stored.cursor == 4


async def test_latched_interrupts_are_a_gauge() -> None:
    journal, metrics = memory_journal(), Metrics()
    watching = Projector(journal, ObservabilityConfig(), lambda _: None, metrics)
    raised = await journal.raise_interrupt("default", "all")
    await watching.catch_up()
    assert Values(metrics.snapshot().series).value(catalog.GUARDRAIL_INTERRUPT_LATCHED) == 1
    await journal.clear_interrupt("default", raised.id)
    await watching.catch_up()
    assert Values(metrics.snapshot().series).value(catalog.GUARDRAIL_INTERRUPT_LATCHED) == 0


async def test_a_cancelled_run_leaves_no_approval_waiting() -> None:
    journal, metrics = memory_journal(), Metrics()
    watching = Projector(journal, ObservabilityConfig(), lambda _: None, metrics)
    run = (await journal.create(RunCreated(agent="a", session_id="s", input=[], budget=Budget()))).run
    claim = await journal.claim("w", 30)
    assert claim is not None
    asked = ApprovalRequested(
        approval_id="apr_1",
        call_id="c",
        tool="refund",
        arguments={},
        reason="",
        args_sha256="0" * 64,
        policy_sha256="0" * 64,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    await journal.append(run.id, [CallsDecided(calls=[], model=ModelCall(model="m")), asked], claim.lease)
    await journal.release(claim.lease, RunStatus.WAITING_APPROVAL)
    await watching.catch_up()
    assert Values(metrics.snapshot().series).value(catalog.GUARDRAIL_APPROVALS_PENDING) == 1
    await cancel(journal, "default", run.id)
    await watching.catch_up()
    assert Values(metrics.snapshot().series).value(catalog.GUARDRAIL_APPROVALS_PENDING) == 0


async def test_a_tenants_overview_shows_its_own_runs() -> None:
    journal, told = memory_journal(), []
    await finished(journal)
    await finished(journal, "other")
    await journal.create(RunCreated(agent="a", session_id="s", input=[TextPart(text="x")], budget=Budget()))
    reading = projector(journal, told)
    await reading.catch_up()

    async def values() -> Values:
        return Values(told[-1].series)

    overview = await Overviews(journal, values, reading.values, lambda tenant_id: False)("default")
    assert (overview.runs["succeeded"], overview.runs["queued"], overview.runs["failed"]) == (1, 1, 0)
    assert [figure.value for figure in overview.figures(catalog.RUN_CREATED.name)] == [2]
    shared = await Overviews(journal, values, reading.values, lambda tenant_id: True)("default")
    assert [figure.value for figure in shared.figures(catalog.RUN_CREATED.name)] == [3]


class SlowToStart:
    """A journal whose database is not there at first."""

    def __init__(self, journal: Journal, failures: int) -> None:
        self._journal, self._failures = journal, failures

    async def projection(self, name: str) -> Projection | None:
        self._failures -= 1
        if self._failures >= 0:
            raise StoreUnavailable("the database is starting")
        return await self._journal.projection(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


async def test_a_database_that_is_not_there_at_the_start_is_waited_for() -> None:
    journal, counted = memory_journal(), asyncio.Event()
    await finished(journal)

    def sink(snapshot: Snapshot) -> None:
        if Values(snapshot.series).value(catalog.RUN_ENDED) == 1:
            counted.set()

    slow: Any = SlowToStart(journal, failures=2)
    task = asyncio.create_task(Projector(slow, ObservabilityConfig(), sink, Metrics(), every_s=0.001).run())
    counting = asyncio.create_task(counted.wait())
    done, _ = await asyncio.wait({task, counting}, return_when=asyncio.FIRST_COMPLETED)
    assert done == {counting}
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
