"""Ledger of usage and reservations in the journal's database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from agent.run.budgets import Prices, Reservation, Shared, Window
from agent.run.lease import Lease
from agent.run.ledger import Completion
from agent.store.backend import Backend, Reserved, Transaction
from agent.store.rules import appending, spending
from agent.store.rules.row import check_writer
from flightloop.usage import Amounts, Spending


class StoreLedger:
    """Implements ``agent.run.ledger.Ledger``."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    async def reserve(self, lease: Lease, wanted: Reservation, prices: Prices, shared: Shared) -> Reservation:
        gone = await self._gone()

        def work(tx: Transaction) -> Reservation:
            row = appending.find(tx, lease.run_id)
            check_writer(row, [], lease)
            run = row.state.run
            subject = run.subject.id if run.subject else None
            owner = Reserved(row.id, row.tenant_id, run.session_id, lease.worker, subject=subject)
            granted = spending.reserve(tx, owner, wanted, prices, shared, gone, self._clock())
            if not row.reserved:
                tx.save_run(replace(row, reserved=True), row)
            return granted

        return await self._backend.write(work)

    async def reserve_completion(
        self, completion: Completion, wanted: Reservation, prices: Prices, shared: Shared
    ) -> Reservation:
        await self._backend.appear(completion.holder)
        gone, owner = await self._gone(), _owner(completion)
        return await self._backend.write(
            lambda tx: spending.reserve(tx, owner, wanted, prices, shared, gone, self._clock())
        )

    async def settle(self, completion: Completion, used: Amounts) -> None:
        owner = _owner(completion)
        await self._backend.write(lambda tx: spending.settle(tx, owner, used, self._clock()))

    async def spending(
        self, tenant_id: str, window: Window, session_id: str | None = None, subject: str | None = None
    ) -> Spending:
        now, gone = self._clock(), await self._gone()
        since = window.since(now)

        def work(tx: Transaction) -> Spending:
            reserved = tx.reserved(tenant_id, session_id, gone=gone, subject=subject)
            if session_id is not None:
                return Spending(used=tx.spent_in_session(tenant_id, session_id), reserved=reserved)
            day = since.date().isoformat()
            used = tx.spent_since(tenant_id, day) if subject is None else tx.spent_by_subject(tenant_id, subject, day)
            return Spending(used=used, reserved=reserved, since=since, until=window.until(now))

        return await self._backend.read(work)

    async def _gone(self) -> frozenset[str]:
        holders = await self._backend.read(lambda tx: tx.reservers())
        return await self._backend.gone(holders) if holders else frozenset()


def _owner(completion: Completion) -> Reserved:
    return Reserved(
        completion.id, completion.tenant_id, completion.session_id, completion.holder, subject=completion.subject
    )
