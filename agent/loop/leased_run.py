"""A worker's open run: writes to the journal under the lease and keeps run and history in step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent.model_call.call import GuardedCall
from agent.run.budgets import Prices, Reservation, TenantBudgets
from agent.run.history import History
from agent.run.journal import PAGE, Journal, all_events
from agent.run.lease import Lease
from agent.run.past import read_past
from agent.run.state import RunState, fold_state
from flightloop.events import ChecksPassed, Judged, RunCreated, RunEvent
from flightloop.runs import Run
from flightloop.verdicts import Verdict, passed
from guardrails.types import Past


class LeasedRun:
    """Everything the loop knows of one run; made by ``LeasedRun.open`` from the journal's events."""

    def __init__(self, journal: Journal, lease: Lease, state: RunState, history: History) -> None:
        self._journal = journal
        self.lease = lease
        self.state = state
        self.history = history
        self.draft: GuardedCall | None = None
        """An answer that is being decoded."""
        self._read = state.run.last_seq  # so far the history goes
        self._deferred: list[RunEvent] = []
        self._passed: list[Verdict] = []  # deferred likewise
        self._writing = asyncio.Lock()
        self._failed: Exception | None = None

    @classmethod
    async def open(cls, journal: Journal, tenant_id: str, lease: Lease) -> LeasedRun:
        """Reads the run's events once; from then on every write keeps up by itself."""
        events = await all_events(journal, tenant_id, lease.run_id)
        return cls(journal, lease, fold_state(events), History(lease.run_id, events))

    @property
    def run(self) -> Run:
        return self.state.run

    def defer(self, events: Sequence[RunEvent]) -> None:
        """Events without an effect to wait for: they go with the next write, in the same transaction."""
        self._deferred += events

    def defer_verdicts(self, verdicts: Sequence[Verdict], call_id: str | None = None) -> None:
        """Likewise; those that are plain become one event of that write."""
        self._deferred += [Judged(verdict=each, call_id=call_id) for each in verdicts if not each.plain]
        self._passed += [each for each in verdicts if each.plain]

    def forget_deferred(self) -> None:
        """Drops deferred events that the journal has already, from before a crash."""
        self._deferred, self._passed = [], []

    async def reserve(self, wanted: Reservation, prices: Prices, tenants: TenantBudgets) -> Reservation:
        """What is wanted, shortened to what the bounds leave that the run shares with others.

        Raises:
            Exhausted: they leave nothing.
            LeaseLost: another worker has the run.
        """
        shared = tenants.shared_by(self.run)
        if not shared.hold(wanted):
            return wanted
        return await self._journal.ledger.reserve(self.lease, wanted, prices, shared)

    async def write(self, *events: RunEvent, children: Sequence[RunCreated] = ()) -> Run:
        """Appends the deferred events and these, with the runs that begin with them.

        Raises:
            LeaseLost: another worker has the run.
            Exception: that of an earlier write: nothing is written behind what is missing.
        """
        async with self._writing:
            if self._failed is not None:
                raise self._failed
            checks = [ChecksPassed(passed=each) for each in passed(self._passed)]
            batch = [*self._deferred, *checks, *events]
            self.forget_deferred()
            if batch:
                await _to_its_end(asyncio.create_task(self._append(batch, children)))
        return self.run

    async def _append(self, batch: Sequence[RunEvent], children: Sequence[RunCreated]) -> None:
        try:
            written = await self._journal.append(self.run.id, batch, self.lease, children)
            await self._catch_up(written.events[0].seq)
        except Exception as error:
            self._failed = error
            raise
        self._add(written.events)
        self.state = written.state

    def decide(self, decision: RunEvent) -> None:
        """A decision goes with the next write too, before the deferred verdicts, which are about it."""
        self._deferred.insert(0, decision)

    async def tainted(self, run_id: str) -> bool:
        """Whether another run had read something that looks like an instruction."""
        return History(run_id, await all_events(self._journal, self.run.tenant_id, run_id)).tainted

    async def past(self, asked: str, args_sha256: str | None = None, tool: str | None = None) -> Past:
        """What the run's session holds beside it; see ``agent.run.past``."""
        return await read_past(self._journal, self.run, asked, args_sha256, tool)

    async def _catch_up(self, before: int) -> None:
        """Takes in what others wrote meanwhile: a cancel request, a person's decision."""
        while before > self._read + 1:
            limit = min(PAGE, before - self._read - 1)
            self._add(await self._journal.events(self.run.tenant_id, self.run.id, self._read, limit))

    def _add(self, events: Sequence[RunEvent]) -> None:
        for event in events:
            self.history.add(event)
            self._read = event.seq


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Waits for a task that nothing breaks off: who is cancelled meanwhile, however often, goes when it is done."""
    broken_off: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            broken_off = error
    if broken_off is not None:
        task.exception()  # told by the next write
        raise broken_off
    task.result()
