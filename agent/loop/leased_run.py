"""A run under a worker's lease: writes its events to the journal and keeps its state and history up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from agent.model_call.call import GuardedCall
from agent.run.budgets import Prices, Reservation, TenantBudgets
from agent.run.history import History
from agent.run.journal import PAGE, Journal, all_events
from agent.run.lease import Lease
from agent.run.limits import CallShares
from agent.run.past import SubRun, read_past, sub_run
from agent.run.state import RunState, fold_state
from flightloop.events import ChecksPassed, Judged, RunCreated, RunEvent
from flightloop.runs import Run
from flightloop.verdicts import Verdict, passed
from guardrails.limit_share import LimitShare
from guardrails.types import Past


class LeasedRun:
    """State, history and unwritten events of a run; create it with ``LeasedRun.open``."""

    def __init__(self, journal: Journal, lease: Lease, state: RunState, history: History) -> None:
        self._journal = journal
        self.lease = lease
        self.state = state
        self.history = history
        self.draft: GuardedCall | None = None
        """The answer that is being decoded."""
        self.refused: frozenset[str] = frozenset()
        """Ids of calls whose latest intents were not journaled: a limit over time has no room for them."""
        self._read = state.run.last_seq  # last event in the history
        self._deferred: list[RunEvent] = []
        self._passed: list[Verdict] = []  # deferred too
        self._writing = asyncio.Lock()
        self._failed: Exception | None = None

    @classmethod
    async def open(cls, journal: Journal, tenant_id: str, lease: Lease) -> LeasedRun:
        """Reads the run's events once; later writes keep state and history up to date."""
        events = await all_events(journal, tenant_id, lease.run_id)
        return cls(journal, lease, fold_state(events), History(lease.run_id, events))

    @property
    def run(self) -> Run:
        return self.state.run

    def defer(self, events: Sequence[RunEvent]) -> None:
        """Queues events for the transaction of the next write. Not for events that must be stored before an effect."""
        self._deferred += events

    def defer_verdicts(self, verdicts: Sequence[Verdict], call_id: str | None = None) -> None:
        """Queues verdicts for the next write; those that allow without a remark are merged into one event."""
        self._deferred += [Judged(verdict=each, call_id=call_id) for each in verdicts if not each.plain]
        self._passed += [each for each in verdicts if each.plain]

    def forget_deferred(self) -> None:
        """Drops deferred events that were already journaled before a crash."""
        self._deferred, self._passed = [], []

    async def reserve(self, wanted: Reservation, prices: Prices, tenants: TenantBudgets) -> Reservation:
        """Reserves from the budgets that the run shares with others. Returns ``wanted``, shortened to what is left.

        Raises:
            Exhausted: nothing is left.
            LeaseLost: another worker has the run.
        """
        shared = tenants.shared_by(self.run)
        if not shared.hold(wanted):
            return wanted
        return await self._journal.ledger.reserve(self.lease, wanted, prices, shared)

    async def write(
        self,
        *events: RunEvent,
        children: Sequence[RunCreated] = (),
        shares: CallShares = (),
    ) -> Run:
        """Appends deferred events and ``events``, and creates sub-runs, in one transaction. ``shares``: see
        ``Journal.append``; calls that are not written are in ``refused``.

        Raises:
            LeaseLost: another worker has the run.
            Exception: the error of an earlier failed write; nothing is written after a gap.
        """
        async with self._writing:
            if self._failed is not None:
                raise self._failed
            checks = [ChecksPassed(passed=each) for each in passed(self._passed)]
            batch = [*self._deferred, *checks, *events]
            self.forget_deferred()
            if batch:
                await _to_its_end(asyncio.create_task(self._append(batch, children, shares)))
        return self.run

    async def _append(self, batch: Sequence[RunEvent], children: Sequence[RunCreated], shares: CallShares) -> None:
        try:
            written = await self._journal.append(self.run.id, batch, self.lease, children, shares)
            await self._catch_up(written.events[0].seq if written.events else written.state.run.last_seq + 1)
        except Exception as error:
            self._failed = error
            raise
        self._add(written.events)
        self.state = written.state
        self.refused = (self.refused - {call_id for call_id, _ in shares}) | written.refused

    def decide(self, decision: RunEvent) -> None:
        """Queues a decision for the next write, ahead of the deferred verdicts on it."""
        self._deferred.insert(0, decision)

    async def sub_run(self, run_id: str) -> SubRun:
        """What a sub-run read and wrote."""
        return await sub_run(self._journal, self.run.tenant_id, run_id)

    async def past(self, asked: str, args_sha256: str | None = None, tool: str | None = None) -> Past:
        """Earlier writes of the run's session; see ``agent.run.past``."""
        return await read_past(self._journal, self.run, asked, args_sha256, tool)

    async def doubted(self) -> bool:
        """Whether somebody was asked if a write is what the user meant, by a run of the session or of its forks."""
        return await self._journal.doubted(self.run)

    async def used(self, call_id: str, shares: Sequence[LimitShare]) -> Sequence[Decimal]:
        """What other calls have used of limits over time; see ``agent.run.limits``."""
        return await self._journal.limits.used(self.run, call_id, shares)

    async def _catch_up(self, before: int) -> None:
        """Reads events that others wrote meanwhile, such as a cancel request or a person's decision."""
        while before > self._read + 1:
            limit = min(PAGE, before - self._read - 1)
            self._add(await self._journal.events(self.run.tenant_id, self.run.id, self._read, limit))

    def _add(self, events: Sequence[RunEvent]) -> None:
        for event in events:
            self.history.add(event)
            self._read = event.seq


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Waits for a task without passing cancellation on to it; raises CancelledError once the task is done."""
    broken_off: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            broken_off = error
    if broken_off is not None:
        task.exception()  # the next write raises it
        raise broken_off
    task.result()
