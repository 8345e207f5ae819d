"""Waits until a run has ended or a person has to decide, and tells of what happens meanwhile."""

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
"""Of a page: a run has had any number, but few are at work."""


class RunWatch:
    """What a run and those of other agents that work for it are at: as the API tells when it is first asked, and from
    there on a fold over their events. Those before are not read, however many there are.

    Args:
        api: whose key may read the run.
        run_id: of the run.
        tell: is told of each durable event from the first ``settle`` on.
        new: the run has only begun: all of its events are read and told.
        turn: in which the API is asked at first.
    """

    def __init__(
        self, api: AsyncFlightloop, run_id: str, tell: Tell, *, new: bool = False, turn: Turn = nullcontext
    ) -> None:
        self._api, self._run_id, self._tell, self._new, self._turn = api, run_id, tell, new, turn
        self._seq = 0
        self._status = RunStatus.QUEUED
        self._pending: dict[str, ApprovalRequested] = {}
        self._below: dict[str, RunWatch] = {}
        """The runs that work on calls of this one."""

    @property
    def pending(self) -> list[ApprovalRequested]:
        """The calls that wait for a person, the oldest first; then those of the runs that work for this one."""
        if self._status.terminal:
            return []
        return [*self._pending.values(), *(approval for run in self._below.values() for approval in run.pending)]

    async def settle(self, seconds: float) -> None:
        """Returns once the run has ended or waits for a person, after that time at the latest.

        Raises:
            FlightloopError: the API refuses, or does not answer.
        """
        deadline = time.monotonic() + seconds
        await self._catch_up()
        with suppress(TimeoutError):
            await self._wait(deadline)

    async def _catch_up(self) -> None:
        """Reads what is new, however long it takes: also who only looks gets to know what waits."""
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
        """What is asked after the run is as new as it or newer: events in between are folded in once more."""
        self._seq, self._status, self._new = run.last_seq, run.status, True
        if run.status.terminal:
            return
        self._pending = {one.id: _requested(one) for one in reversed(await self._approvals())}
        for child in reversed(await self._children()):
            self._below[child.id] = below = RunWatch(self._api, child.id, self._tell)
            await below._begin(child)

    async def _approvals(self) -> list[Approval]:
        """Newest first."""
        found: list[Approval] = []
        page = await self._api.approvals.list(run_id=self._run_id)
        found += page.data
        while page.has_more:
            page = await self._api.approvals.list(run_id=self._run_id, after=page.next_after)
            found += page.data
        return [one for one in found if one.run_id == self._run_id]

    async def _children(self) -> list[Run]:
        """That are at work, newest first: they are of the run's last decision, so none is behind a page without."""
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
        """Raises TimeoutError."""
        while not self._settled:
            below = [run._wait(deadline) for run in self._below.values() if not run._settled]
            await _first(self._follow(deadline - time.monotonic()), *below)

    @property
    def _settled(self) -> bool:
        return self._status.terminal or (self._status in WAITING and bool(self.pending))

    async def _follow(self, seconds: float) -> None:
        """Until the run has ended or is given back. Raises TimeoutError."""
        stream = self._api.runs.stream(self._run_id, after=self._seq, timeout_s=seconds)
        async with aclosing(cast("AsyncGenerator[RunEvent, None]", stream)) as events:
            async for event in events:
                if event.seq:
                    await self._take(event)
                if isinstance(event, RunReleased | RunEnded | AgentReturned):
                    return

    async def _take(self, event: RunEvent) -> None:
        if event.seq <= self._seq:
            return  # two read the run at the same time: one waits for it, one wants to know how it ended
        self._seq = event.seq
        match event:
            case RunStarted():
                self._status = RunStatus.RUNNING
            case RunResumed():
                self._status = RunStatus.QUEUED
            case RunReleased() | RunEnded():
                self._status = event.status
            case _ if not event.copied:  # nobody decides about or works on calls of the run that was forked
                await self._take_call(event)
        if self._new:
            await self._tell(event)

    async def _take_call(self, event: RunEvent) -> None:
        match event:
            case ApprovalRequested():
                self._pending[event.approval_id] = event
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
    """Returns, or raises, what the first of them does; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        with CancelScope(shield=True):
            for task in tasks:
                await ended(task)
