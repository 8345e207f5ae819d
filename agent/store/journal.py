"""Journal over any backend: one implementation of the rules for SQL and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar

from agent.run.journal import Appended, Claim, Created, Idempotency, Projection, Recorded, Released, new_id
from agent.run.lease import Lease
from agent.run.limits import CallShares
from agent.run.state import OPEN
from agent.run.written import Written
from agent.store.acts import StoreActs
from agent.store.backend import AuditFilter, Backend, RunFilter, Transaction
from agent.store.erasure import StoreErasure
from agent.store.interrupts import StoreInterrupts
from agent.store.keys import StoreKeys
from agent.store.ledger import StoreLedger
from agent.store.limits import StoreLimits
from agent.store.notifier import WORK, Notifier, topics, wait_set
from agent.store.rules import appending, decisions, forks, idempotency_records, records, runs, writes
from agent.store.rules.copying import TURN_S, Copying
from agent.store.rules.forks import Copies
from agent.store.rules.row import Row
from flightloop.acts import Act, Actor, system
from flightloop.errors import Conflict, NotFound, StoreUnavailable
from flightloop.events import RunCreated, RunEvent
from flightloop.runs import Approval, Page, Run, RunStatus
from flightloop.verdicts import AuditRecord, Verdict

POLL_S = 0.25
"""Polling interval, and so the longest delay until another process's write is noticed."""
LISTENING_POLL_S = 2.0
"""Polling interval where the database sends notifications."""
REST_S = 0.1
"""Pause between portions of background work that no caller waits for."""


def utcnow() -> datetime:
    return datetime.now(UTC)


class StoreJournal(StoreInterrupts):
    """Implements ``agent.run.journal.Journal``. Belongs to one event loop; ``clock`` returns aware datetimes."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime] = utcnow, poll_s: float = POLL_S) -> None:
        super().__init__(backend, clock)
        self._poll_s = poll_s
        self._notifier = Notifier()
        self._copying = Copying(backend, clock)
        self.keys = StoreKeys(backend, clock)
        self.acts = StoreActs(backend, clock)
        self.policies = backend.audit.policies
        self.ledger = StoreLedger(backend, clock)
        self.limits = StoreLimits(backend, clock)
        self.erasure = StoreErasure(backend, clock)

    # -- runs -------------------------------------------------------------------------------------

    async def create(
        self,
        created: RunCreated,
        idempotency: Idempotency | None = None,
        record: Sequence[Verdict] = (),
        actor: Actor | None = None,
    ) -> Created:
        created = created.model_copy(update={"started_by": created.started_by or actor})

        now = self._clock()  # of its arrival, not of the store's turn: a yes may be older than its question

        def work(tx: Transaction, copies: Copies | None = None) -> Created:
            if copies is not None:
                forks.check(tx, copies)
            made = runs.create(tx, copies.beginning if copies else runs.begin(created, now), idempotency, now)
            if not made.replayed:
                if copies is not None:
                    tx.save_fork(replace(copies.fork, copied_at=None))
                records.given(tx, made.run, record, actor, now)
            return made

        tenant = created.tenant_id
        if created.origin is None:
            made = await self._backend.write(work)
        elif first := await self._backend.read(lambda tx: idempotency_records.earlier(tx, tenant, idempotency, Run)):
            return Created(first, replayed=True)
        else:
            await self.drop_copies()
            async with self._copying.steps(created, created.origin) as copies:
                made = await self._backend.write(lambda tx: work(tx, copies))
        self._tell(made.run)
        return made

    async def get(self, tenant_id: str, run_id: str) -> Run:
        return (await self._backend.read(lambda tx: appending.find(tx, run_id, tenant_id))).state.run

    async def replayed(self, tenant_id: str, idempotency: Idempotency) -> Run | None:
        return await self._backend.read(lambda tx: idempotency_records.earlier(tx, tenant_id, idempotency, Run))

    async def check_session(self, tenant_id: str, session_id: str, subject: str | None) -> bool:
        return await self._backend.read(lambda tx: runs.check_session(tx, tenant_id, session_id, subject))

    async def runs(
        self,
        tenant_id: str,
        *,
        agent: str | None = None,
        status: RunStatus | None = None,
        session_id: str | None = None,
        subject: str | None = None,
        parent: str | None = None,
        roots: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Run]:
        wanted = RunFilter(agent, status, session_id, subject, parent, roots)

        def work(tx: Transaction) -> tuple[list[Run], bool]:
            if after is not None:
                appending.find(tx, after, tenant_id)
            return tx.page_runs(tenant_id, wanted, after, limit)

        return _page(*await self._backend.read(work))

    async def writes(
        self, run: Run, args_sha256: str | None = None, tool: str | None = None, limit: int = 500
    ) -> list[Written]:
        return await self._backend.read(lambda tx: writes.of_others(tx, run, args_sha256, tool, limit))

    async def doubted(self, run: Run) -> bool:
        return await self._backend.read(lambda tx: writes.doubted(tx, run))

    async def append(
        self,
        run_id: str,
        events: Sequence[RunEvent],
        lease: Lease | None = None,
        children: Sequence[RunCreated] = (),
        shares: CallShares = (),
    ) -> Appended:
        change = await self._backend.write(
            lambda tx: runs.append(tx, run_id, events, lease, children, shares, self._clock())
        )
        self._tell(change.row.state.run)
        if children:
            self._notifier.notify(WORK)
        if change.unfinished and lease is None:  # a worker with a lease continues in the background
            with suppress(StoreUnavailable):  # any worker will continue
                await self._cancel_children(run_id, TURN_S)
        return Appended(change.row.state, change.events, change.refused)

    async def events(self, tenant_id: str, run_id: str, after: int = 0, limit: int = 1000) -> list[RunEvent]:
        def work(tx: Transaction) -> list[RunEvent]:
            appending.find(tx, run_id, tenant_id)
            return tx.events(run_id, after, limit)

        return await self._backend.read(work)

    async def wait(self, run_id: str, after: int, timeout_s: float) -> bool:
        loop, poll_s = asyncio.get_running_loop(), self._listen()
        deadline = loop.time() + timeout_s
        with self._notifier.listening(run_id) as written:
            while await self._backend.read(lambda tx: tx.last_seq(run_id)) <= after:
                left = deadline - loop.time()
                if left <= 0:
                    return False
                await wait_set(written, min(left, poll_s))
        return True

    async def read_all(self, after: int = 0, limit: int = 1000) -> list[Recorded]:
        return await self._backend.read(lambda tx: tx.read_all(after, limit))

    # -- leases -----------------------------------------------------------------------------------

    async def claim(
        self,
        worker: str,
        ttl_s: float,
        besides: Sequence[Collection[str]] = ((),),
        unless: Callable[[], bool] = lambda: False,
        held: Collection[str] = (),
    ) -> Claim | None:
        def look(tx: Transaction, passed: Collection[str] = ()) -> Row | None:
            found = (tx.claimable(self._clock(), gone, [*each, *passed], held) for each in besides)
            return next((row for row in found if row is not None), None)

        def work(tx: Transaction) -> Claim | bool:
            now = self._clock()
            has_ended = partial(runs.ended, gone=gone, sure_s=sure_s, ttl_s=ttl_s, now=now)
            return not unless() and runs.claim_next(tx, partial(look, tx), worker, ttl_s, now, has_ended)

        await self._backend.appear(worker)
        gone, sure_s = await self._gone(), self._backend.sure_s()
        while await self._backend.read(look) is not None:  # polling by an idle worker takes no write lock
            claimed = await self._backend.write(work)
            if isinstance(claimed, Claim):
                self._notifier.notify(claimed.run.id)
                return claimed
            if not claimed:
                break
            await asyncio.sleep(TURN_S)
        return None

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        await self._backend.appear(lease.worker)
        return await self._backend.write(lambda tx: runs.renew(tx, lease, ttl_s, self._clock()))

    async def release(self, lease: Lease, status: Released = RunStatus.QUEUED, seen: int | None = None) -> None:
        change = await self._backend.write(lambda tx: runs.release(tx, lease, status, seen, self._clock()))
        self._tell(change.row.state.run)

    async def cancel_remaining_children(self) -> None:
        for run_id in await self._backend.read(lambda tx: tx.with_uncancelled_children(appending.MOST)):
            await self._cancel_children(run_id, REST_S)

    async def _cancel_children(self, run_id: str, pause_s: float) -> None:
        more = True
        while more:
            await asyncio.sleep(pause_s)
            more = await self._backend.write(lambda tx: appending.go_on(tx, run_id, self._clock()))

    async def drop_copies(self) -> None:
        await self._copying.sweep()

    async def cancelled(self, worker: str) -> frozenset[str]:
        return frozenset(await self._backend.read(lambda tx: tx.cancelled(worker)))

    async def wait_for_work(self, timeout_s: float, besides: Collection[str] = (), held: Collection[str] = ()) -> None:
        self._listen()
        with self._notifier.listening(WORK) as written:
            gone = await self._gone()
            if await self._backend.read(lambda tx: tx.claimable(self._clock(), gone, besides, held)) is None:
                await wait_set(written, timeout_s)

    async def _gone(self) -> frozenset[str]:
        holders = await self._backend.read(lambda tx: tx.holders())
        return await self._backend.gone(holders) if holders else frozenset()

    # -- approvals --------------------------------------------------------------------------------

    async def approvals(
        self,
        tenant_id: str,
        *,
        status: str | None = None,
        run_id: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Approval]:
        def work(tx: Transaction) -> tuple[list[Approval], bool]:
            if after is not None:
                found = tx.approval(after)
                if found is None or found[0] != tenant_id:
                    raise NotFound(f"no approval {after}")
            return tx.page_approvals(tenant_id, status, run_id, after, limit)

        return _page(*await self._backend.read(work))

    async def approval(self, tenant_id: str, approval_id: str) -> Approval:
        return await self._backend.read(lambda tx: records.find_approval(tx, tenant_id, approval_id))

    async def run_approvals(self, run_id: str) -> list[Approval]:
        return await self._backend.read(lambda tx: tx.run_approvals(run_id))

    async def decide(
        self,
        tenant_id: str,
        approval_id: str,
        decision: Literal["approve", "deny"],
        by: str,
        reason: str | None = None,
        actor: Actor | None = None,
        others: Sequence[Actor] = (),
    ) -> Approval:
        given = decisions.Given(decision, actor or system(by), reason, by)

        def work(tx: Transaction) -> tuple[Approval, Run]:
            return decisions.decide(tx, tenant_id, approval_id, given, others, self._clock())

        closed, run = await self._backend.write(work)
        self._tell(run)
        return closed

    async def expire_approvals(self) -> list[Approval]:
        expired: list[Approval] = []
        while await self._backend.read(lambda tx: tx.overdue_approvals(self._clock(), 1)):
            if expired:
                await asyncio.sleep(TURN_S)
            for closed, run in await self._backend.write(lambda tx: decisions.expire(tx, self._clock())):
                expired += closed
                self._tell(run)
        return expired

    # -- counts -----------------------------------------------------------------------------------

    async def open_runs(self, tenant_id: str) -> dict[RunStatus, int]:
        return await self._backend.read(lambda tx: tx.count_runs(tenant_id, OPEN))

    async def pending_approvals(self, tenant_id: str) -> int:
        return await self._backend.read(lambda tx: tx.count_approvals(tenant_id, "pending"))

    # -- audit ------------------------------------------------------------------------------------

    async def record(self, tenant_id: str, verdicts: Sequence[Verdict]) -> None:
        if verdicts:
            owner = new_id("cmpl")
            await self._backend.write(lambda tx: records.record(tx, tenant_id, verdicts, owner, self._clock()))

    async def audit(
        self,
        tenant_id: str,
        *,
        run_id: str | None = None,
        act: Act | None = None,
        actor: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[AuditRecord]:
        wanted = AuditFilter(run_id, act, actor)
        return await self._backend.read(lambda tx: tx.audit(tenant_id, wanted, after, limit))

    # -- projections ------------------------------------------------------------------------------

    async def projection(self, name: str) -> Projection | None:
        return await self._backend.read(lambda tx: tx.projection(name))

    async def save_projection(self, name: str, projection: Projection, expected_cursor: int) -> None:
        def work(tx: Transaction) -> None:
            stored = tx.projection(name)
            if (stored.cursor if stored else 0) != expected_cursor:
                raise Conflict(f"projection {name} was updated by another process")
            tx.save_projection(name, projection)

        await self._backend.write(work)

    async def close(self) -> None:
        await self._backend.close()

    def _tell(self, run: Run) -> None:
        for topic in topics(run):
            self._notifier.notify(topic)

    def _listen(self) -> float:
        """Subscribes to other processes' writes. Returns the polling interval of waiters in seconds."""
        loop = asyncio.get_running_loop()

        def on_topic(topic: str | None) -> None:
            with suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(self._notifier.notify, topic)

        return LISTENING_POLL_S if self._backend.listen(on_topic) else self._poll_s


Item = TypeVar("Item", Run, Approval)


def _page(data: list[Item], more: bool) -> Page[Item]:
    return Page(data=data, has_more=more, next_after=data[-1].id if more and data else None)
