"""Erases the content of runs in the journal's database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial

from agent.run.erasure import BesidesRuns, ErasureFilter, Reason
from agent.store.backend import Backend, T, Transaction
from agent.store.erasable import Numbered
from agent.store.rules import appending, erasing, erasing_besides, erasing_completions
from flightloop.acts import Actor
from flightloop.runs import Run

PAGE = 1000
TURN_S = 0.01
"""Pause between two transactions, so that other writers get their turn."""


class StoreErasure:
    """Implements ``agent.run.erasure.Erasure``."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    async def open_runs(self, wanted: ErasureFilter) -> list[str]:
        if wanted.before is not None:
            return []
        found = await self._backend.read(lambda tx: tx.erasable(wanted, False, 0, PAGE))
        return [one.run.id for one in found]

    async def runs(self, wanted: ErasureFilter) -> AsyncIterator[Run]:
        after = 0
        while page := await self._backend.read(partial(_page, wanted=wanted, after=after)):
            for one in page:
                yield one.run
            after = page[-1].number

    async def unfinished(self, tenant_id: str | None) -> list[str]:
        return await self._backend.read(lambda tx: tx.half_erased(tenant_id, PAGE))

    async def erase(self, run_id: str, reason: Reason, actor: Actor) -> None:
        now = self._clock()
        if await self._write(lambda tx: erasing.at_once(tx, run_id, reason, actor, now)):
            return
        run = (await self._backend.read(lambda tx: appending.find(tx, run_id))).state.run
        await self._in_portions(partial(erasing.events, run_id=run_id))
        await self._in_portions(partial(erasing.records, run=run))
        while await self._write(lambda tx: erasing.approvals(tx, run_id)):
            pass
        await self._write(lambda tx: erasing.finish(tx, run_id))

    async def erase_besides(self, wanted: ErasureFilter, actor: Actor) -> BesidesRuns:
        keys, now, subject = frozenset[str](), self._clock(), wanted.subject
        stops, active = await self._write(lambda tx: erasing_besides.stops(tx, wanted))
        if subject is not None and (tenant_id := wanted.tenant_id) is not None:
            await self._write(lambda tx: tx.drop_subject_spending(tenant_id, subject))
            keys = await self._backend.read(lambda tx: erasing_besides.bound_keys(tx, tenant_id, subject))
            for named in erasing_besides.acts_about(keys):
                step = partial(erasing_besides.records, tenant_id=tenant_id, subject=subject, keys=keys, kept=active)
                await self._in_portions(partial(step, wanted=named))
            # Last: afterwards nothing tells whose they were, so that the erasure could not be continued.
            await self._write(lambda tx: erasing_besides.revoke(tx, tenant_id, keys, actor, now))
        answers = await (self._drop_answers(wanted) if wanted.before else self._erase_answers(wanted))
        if wanted.before is not None:
            await self._erase_completions(wanted.tenant_id, wanted.before)
        return BesidesRuns(answers, stops, len(keys), tuple(active))

    async def compact(self, whole: bool = True) -> list[str]:
        return await self._backend.compact(whole)

    async def _erase_completions(self, tenant_id: str | None, before: datetime) -> None:
        """Events of all tenants are erased together, so not if one is named."""
        while tenant_id is None and await self._write(partial(erasing_completions.events, before=before)):
            pass
        tenants = [tenant_id] if tenant_id else await self._backend.read(lambda tx: tx.audit_tenants())
        for each in tenants:
            while await self._write(partial(erasing_completions.records, tenant_id=each, before=before)):
                pass

    async def _drop_answers(self, wanted: ErasureFilter) -> int:
        before, dropped = wanted.before, 0
        assert before is not None
        while some := await self._write(lambda tx: tx.drop_answers(wanted.tenant_id, before, erasing.RECORDS)):
            dropped += some
        return dropped

    async def _erase_answers(self, wanted: ErasureFilter) -> int:
        after: str | None = ""
        changed = 0
        while after is not None:
            some, after = await self._write(partial(erasing_besides.answers, wanted=wanted, after=after))
            changed += some
        return changed

    async def _in_portions(self, step: Callable[..., int | None]) -> None:
        """Calls a step that continues after the number that it returned, until it returns None."""
        after: int | None = 0
        while after is not None:
            after = await self._write(partial(step, after=after))

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        done = await self._backend.write(work)
        await asyncio.sleep(TURN_S)
        return done


def _page(tx: Transaction, wanted: ErasureFilter, after: int) -> list[Numbered]:
    return tx.erasable(wanted, True, after, PAGE)
