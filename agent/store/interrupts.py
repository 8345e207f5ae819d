"""The part of the journal that stores interrupts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from agent.run.journal import Idempotency, new_id
from agent.store.backend import Backend, Transaction
from agent.store.rules import stops
from flightloop.acts import Actor
from flightloop.runs import Interrupt, Run
from guardrails.interrupt import ANY_TENANT, InterruptSnapshot

CLEARED_KEPT = timedelta(hours=1)
RESTED = timedelta(minutes=1)
"""Time for which an interrupt snapshot is reused if the epoch is unchanged. New ones omit old cleared interrupts."""


class StoreInterrupts:
    """Implements the interrupts of ``agent.run.journal.Journal``."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._snapshot = datetime.min.replace(tzinfo=UTC), InterruptSnapshot(epoch=-1, interrupts=())

    async def raise_interrupt(
        self,
        tenant_id: str,
        scope: Literal["all", "tenant", "agent", "session", "subject", "run"],
        target: str | None = None,
        reason: str = "",
        by: str = "",
        *,
        interrupt_id: str | None = None,
        idempotency: Idempotency | None = None,
        actor: Actor | None = None,
    ) -> Interrupt:
        stop = Interrupt(
            id=interrupt_id or new_id("int"),
            tenant_id=tenant_id,
            scope=scope,
            target=target,
            reason=reason,
            epoch=0,  # given when it is stored
            created_at=self._clock(),
            created_by=by,
        )
        return await self._backend.write(lambda tx: stops.stop(tx, stop, idempotency, actor))

    async def clear_interrupt(
        self, tenant_id: str, interrupt_id: str, actor: Actor | None = None, reason: str = ""
    ) -> Interrupt:
        now = self._clock()
        return await self._backend.write(lambda tx: stops.clear(tx, tenant_id, interrupt_id, actor, now, reason))

    async def interrupts(self, tenant_id: str, *, active: bool = True) -> list[Interrupt]:
        since = None if active else datetime.min.replace(tzinfo=UTC)

        def work(tx: Transaction) -> list[Interrupt]:
            own = tx.interrupts(tenant_id, since)
            if tenant_id == ANY_TENANT or not (of_all := tx.interrupts(ANY_TENANT, since)):
                return own
            found = [*own, *(one for one in of_all if one.scope == "all" or one.target == tenant_id)]
            return sorted(found, key=lambda one: one.epoch, reverse=True)

        return await self._backend.read(work)

    async def stops(self, run: Run) -> InterruptSnapshot:
        def work(tx: Transaction) -> InterruptSnapshot:
            epoch, since = tx.epoch(), run.created_at - CLEARED_KEPT  # other nodes' clocks may be behind
            found = [*tx.interrupts(run.tenant_id, since), *tx.interrupts(ANY_TENANT, since)]
            admitted = epoch if run.epoch is None else run.epoch  # None: the run is older than this field
            raised = [each for each in found if each.cleared_at is None or each.epoch > admitted]
            return InterruptSnapshot(epoch, tuple(raised))

        return await self._backend.read(work)

    async def interrupt_snapshot(self) -> InterruptSnapshot:
        now = self._clock()

        def work(tx: Transaction) -> tuple[datetime, InterruptSnapshot]:
            epoch, (at, latest) = tx.epoch(), self._snapshot
            if epoch == latest.epoch and now - at < RESTED:  # every completion polls this 20 times a second
                return at, latest
            return now, InterruptSnapshot(epoch=epoch, interrupts=tuple(tx.interrupts(None, now - CLEARED_KEPT)))

        self._snapshot = await self._backend.read(work)
        return self._snapshot[1]
