"""Waits until a run has ended or a person must approve a call, and reports the run's events meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from typing import Any, cast

from anyio import CancelScope

from agent.api.completions.cancellation import ended
from flightloop import AsyncFlightloop
from flightloop.events import (
    AgentReturned,
    ApprovalDecided,
    ApprovalGiven,
    ApprovalRequested,
    RunEnded,
    RunEvent,
    RunReleased,
    RunResumed,
    RunStarted,
    ToolIntent,
)
from flightloop.runs import WAITING, Approval, Run, RunStatus

Tell = Callable[[RunEvent], Awaitable[None]]
Turn = Callable[[], AbstractAsyncContextManager[None]]
MOST_CHILDREN = 16
"""Page size: a run may have many sub-runs, but few are active."""


class RunWatch:
    """Tracks a run and its sub-runs: reads their state once, then applies new events to it. Earlier events are not
    read.

    Args:
        api: client whose key may read the run.
        run_id: id of the run.
        tell: called with each durable event after the first ``settle`` began.
        new: whether the run has just begun, so that all its events are read and reported.
        turn: context in which the state is first read, such as a limit on concurrent reads.
    """

    def __init__(
        self, api: AsyncFlightloop, run_id: str, tell: Tell, *, new: bool = False, turn: Turn = nullcontext
    ) -> None:
        self._api, self._run_id, self._tell, self._new, self._turn = api, run_id, tell, new, turn
        self._seq = 0
        self._status = RunStatus.QUEUED
        self._pending: dict[str, ApprovalRequested] = {}
        self._approvers: dict[str, list[str]] = {}
        """Who has approved a pending call for which further persons are needed."""
        self._below: dict[str, RunWatch] = {}
        """Watches of this run's sub-runs, by run id."""

    @property
    def pending(self) -> list[ApprovalRequested]:
        """Calls that wait for a person, oldest first; then those of sub-runs."""
        if self._status.terminal:
            return []
        return [*self._pending.values(), *(approval for run in self._below.values() for approval in run.pending)]

    def approvers(self, approval_id: str) -> list[str]:
        """Who has approved a pending call so far, in this run or a sub-run."""
        below = (name for run in self._below.values() for name in run.approvers(approval_id))
        return [*self._approvers.get(approval_id, ()), *below]

    async def settle(self, seconds: float) -> None:
        """Returns once the run has ended or waits for a person, or after ``seconds``.

        Raises:
            FlightloopError: the API refuses or does not respond.
        """
        deadline = time.monotonic() + seconds
        await self._catch_up()
        with suppress(TimeoutError):
            await self._wait(deadline)

    async def _catch_up(self) -> None:
        """Reads all new events, however long it takes, so that even a short wait sees pending calls."""
        if not self._new:
            async with self._turn():
                await self._begin(await self._api.runs.get(self._run_id))
            return
        run = await self._api.runs.get(self._run_id)
        if run.last_seq > self._seq:
            stream = self._api.runs.stream(self._run_id, after=self._seq, until=run.last_seq)
            async with aclosing(cast("AsyncGenerator[RunEvent, None]", stream)) as events:
                async for event in events:
                    if event.seq:
                        await self._take(event)
        for below in list(self._below.values()):
            await below._catch_up()

    async def _begin(self, run: Run) -> None:
        """Reads the current state. Approvals and sub-runs may be newer than ``run``: events in between apply twice."""
        self._seq, self._status, self._new = run.last_seq, run.status, True
        if run.status.terminal:
            return
        approvals = await self._approvals()
        self._pending = {one.id: _requested(one) for one in reversed(approvals)}
        self._approvers = {one.id: [each.by for each in one.decisions] for one in approvals}
        for child in reversed(await self._children()):
            self._below[child.id] = below = RunWatch(self._api, child.id, self._tell)
            await below._begin(child)

    async def _approvals(self) -> list[Approval]:
        """Approvals of the run, newest first."""
        found: list[Approval] = []
        page = await self._api.approvals.list(run_id=self._run_id)
        found += page.data
        while page.has_more:
            page = await self._api.approvals.list(run_id=self._run_id, after=page.next_after)
            found += page.data
        return [one for one in found if one.run_id == self._run_id]

    async def _children(self) -> list[Run]:
        """Active sub-runs, newest first. All belong to the run's last step, so the first page without any is the
        last to read."""
        found: list[Run] = []
        after: str | None = None
        while True:
            page = await self._api.runs.list(parent=self._run_id, limit=MOST_CHILDREN, after=after)
            active = [run for run in page.data if not run.status.terminal]
            found += active
            if not (active and page.has_more):
                return found
            after = page.next_after

    async def _wait(self, deadline: float) -> None:
        """Waits until the run is settled. Raises TimeoutError."""
        while not self._settled:
            below = [run._wait(deadline) for run in self._below.values() if not run._settled]
            await _first(self._follow(deadline - time.monotonic()), *below)

    @property
    def _settled(self) -> bool:
        return self._status.terminal or (self._status in WAITING and bool(self.pending))

    async def _follow(self, seconds: float) -> None:
        """Follows events until the run has ended or is released. Raises TimeoutError."""
        stream = self._api.runs.stream(self._run_id, after=self._seq, timeout_s=seconds)
        async with aclosing(cast("AsyncGenerator[RunEvent, None]", stream)) as events:
            async for event in events:
                if event.seq:
                    await self._take(event)
                if isinstance(event, RunReleased | RunEnded | AgentReturned):
                    return

    async def _take(self, event: RunEvent) -> None:
        if event.seq <= self._seq:
            return  # read twice: by the task that waits, and by the one that reads the final state
        self._seq = event.seq
        match event:
            case RunStarted():
                self._status = RunStatus.RUNNING
            case RunResumed():
                self._status = RunStatus.QUEUED
            case RunReleased() | RunEnded():
                self._status = event.status
            case _ if not event.copied:  # calls of the forked run need no decision or work
                await self._take_call(event)
        if self._new:
            await self._tell(event)

    async def _take_call(self, event: RunEvent) -> None:
        match event:
            case ApprovalRequested():
                self._pending[event.approval_id] = event
            case ApprovalGiven() if event.by not in self._approvers.setdefault(event.approval_id, []):
                self._approvers[event.approval_id].append(event.by)
            case ApprovalDecided():
                self._pending.pop(event.approval_id, None)
            case ToolIntent(performed_by=str(run_id)) if run_id not in self._below:
                self._below[run_id] = RunWatch(self._api, run_id, self._tell, new=self._new)
            case AgentReturned(performed_by=run_id) if run_id in self._below:
                await self._below.pop(run_id)._catch_up()


def _requested(approval: Approval) -> ApprovalRequested:
    given = approval.model_dump(include=set(ApprovalRequested.model_fields))
    return ApprovalRequested.model_validate({**given, "approval_id": approval.id})


async def _first(*waits: Coroutine[Any, Any, None]) -> None:
    """Waits for the first of the coroutines to end and raises its error, if any; cancels the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        with CancelScope(shield=True):
            for task in tasks:
                await ended(task)
