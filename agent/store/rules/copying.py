"""Copies the first steps of forks in portions, and removes copies of forks that were never created."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial

from agent.store.backend import Backend
from agent.store.rules import forks
from agent.store.rules.forks import Copies
from flightloop.errors import StoreUnavailable
from flightloop.events import RunCreated
from flightloop.runs import Origin

TURN_S = 0.01
"""Pause between portions, so that other writers get their turn."""
GIVEN_UP = timedelta(minutes=1)
"""Age of the latest portion at which a copy counts as abandoned. Portions normally take a fraction of a second."""
SWEPT = 32


class Copying:
    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    @asynccontextmanager
    async def steps(self, created: RunCreated, origin: Origin) -> AsyncIterator[Copies]:
        """Copies the steps in portions. The caller writes the last portion together with the run.

        If the caller fails to do so, all copies are removed. Raises the errors of ``forks.begin``.
        """
        copies = await self._backend.read(partial(forks.begin, created=created, origin=origin, now=self._clock()))
        try:
            while not copies.whole:
                copies = await self._backend.write(partial(forks.keep, copies=copies, now=self._clock()))
                await asyncio.sleep(TURN_S)
                following = partial(forks.go_on, copies=copies, origin=origin, now=self._clock())
                copies = await self._backend.read(following)
            yield copies
        finally:
            if copies.fork.copied_at is not None:  # nothing to remove once the run exists
                with suppress(StoreUnavailable):  # a later sweep removes it
                    await self._drop(copies.fork.run_id)

    async def sweep(self) -> None:
        """Removes copies that were abandoned by processes that died or lost the database."""
        before = self._clock() - GIVEN_UP
        for run_id in await self._backend.read(lambda tx: tx.unfinished_forks(before, SWEPT)):
            await self._drop(run_id, before)

    async def _drop(self, run_id: str, before: datetime | None = None) -> None:
        more = True
        while more:
            more = await self._backend.write(lambda tx: forks.drop(tx, run_id, before))
            await asyncio.sleep(TURN_S)
