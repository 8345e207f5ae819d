"""Erases a person, a session or old runs from everything that the deployment stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from agent.erasing.marks import Marks
from agent.erasing.places import Cleaned, Places, clean
from agent.erasing.reach import Receivers, out_of_reach
from agent.run.acts import DEPLOYMENT
from agent.run.commands import cancel
from agent.run.erasure import Erasure, ErasureFilter
from agent.run.journal import Journal
from flightloop.acts import Act, Actor
from flightloop.erasure import ErasureReport
from flightloop.errors import Conflict
from flightloop.runs import Run
from guardrails.audit_keys import AuditKeys

Told = Callable[[str, int, int], None]
"""Receives progress: what is done, how much of it, and of how much in all."""
ENDS_S = 60.0
"""How long to wait for runs that were cancelled."""
ROUNDS = 3
"""How often runs that began meanwhile are erased, too."""
FRESH = timedelta(minutes=1)
"""Age of a run's end up to which its spans may not be written yet."""
NAMED = 20
PURPOSE = "erased subject"


class Eraser:
    """Erases content. Everything is idempotent: after a failure, the same erasure continues.

    Args:
        keys: of the audit log, in which a subject is named by a digest with the newest key.
        receivers: where content is sent to; for the report.
        flush_s: seconds after a run's end until all processes have written its spans.
    """

    def __init__(
        self,
        journal: Journal,
        erasure: Erasure,
        places: Places,
        keys: AuditKeys,
        receivers: Receivers | None = None,
        flush_s: float = 0.0,
    ) -> None:
        self._journal = journal
        self._erasure = erasure
        self._places = places
        self._keys = keys
        self._receivers = receivers or Receivers()
        self._flush_s = flush_s
        self._turn = asyncio.Lock()

    async def count(self, wanted: ErasureFilter) -> ErasureReport:
        """Counts what would be erased."""
        marks, _ = await self._marks(wanted)
        cleaned = await asyncio.to_thread(clean, self._places, marks, True)
        return ErasureReport(
            dry_run=True,
            runs=len(marks.runs),
            open_runs=(await self._erasure.open_runs(wanted))[:NAMED],
            lines=cleaned.lines,
            rows=cleaned.rows,
            problems=cleaned.problems,
            out_of_reach=await self._out_of_reach(wanted),
        )

    async def erase(
        self,
        wanted: ErasureFilter,
        actor: Actor,
        *,
        end_runs: bool = False,
        whole: bool = False,
        told: Told = lambda what, done, total: None,
    ) -> ErasureReport:
        """Erases; one erasure at a time.

        Args:
            end_runs: whether to cancel open runs first.
            whole: whether to rewrite the database's files at the end (``Erasure.compact``).

        Raises:
            Conflict: runs have not ended.
        """
        async with self._turn:
            await self._end(wanted, end_runs, actor)
            marks, fresh = await self._marks(wanted)
            if wanted.before is not None and not marks.runs:
                besides = await self._erasure.erase_besides(wanted, actor)
                return ErasureReport(answers=besides.answers)
            name = self._name(wanted)
            await self._record(wanted, actor, name, {"stage": "begun", "runs": len(marks.runs)})
            told("traces, logs and data sets", 0, 1)
            cleaned = await asyncio.to_thread(clean, self._places, marks)
            known = len(marks.runs)
            runs = await self._erase_runs(wanted, actor, marks, told)
            besides = await self._erasure.erase_besides(wanted, actor)
            if fresh or len(marks.runs) > known:
                await asyncio.sleep(self._flush_s)
                _add(cleaned, await asyncio.to_thread(clean, self._places, marks))
            told("the database's files", 0, 1)
            problems = [*cleaned.problems, *await self._erasure.compact(whole)]
            problems += [
                f"stop {one} still names the subject: lift it, then erase again" for one in besides.active_stops
            ]
            counts = {
                "runs": runs,
                "answers": besides.answers,
                "stops": besides.stops,
                "keys": besides.keys,
                "lines": cleaned.lines,
                "rows": cleaned.rows,
            }
            await self._record(wanted, actor, name, {"stage": "done", **counts})
            beyond = await self._out_of_reach(wanted)
            return ErasureReport(**counts, record=name, problems=problems, out_of_reach=beyond)

    async def _marks(self, wanted: ErasureFilter) -> tuple[Marks, bool]:
        """Marks of all runs to erase, and whether one has ended just now."""
        alone = set(await self._journal.acts.tenants()) <= {wanted.tenant_id}
        marks, fresh, now = Marks(wanted.subject if alone else None), False, datetime.now(UTC)
        for run_id in await self._erasure.unfinished(wanted.tenant_id):
            marks.runs.add(run_id)
        async for run in self._erasure.runs(wanted):
            marks.add(run)
            fresh = fresh or _is_fresh(run, now)
        return marks, fresh

    async def _erase_runs(self, wanted: ErasureFilter, actor: Actor, marks: Marks, told: Told) -> int:
        """Erases the marked runs, and those that have ended since. Returns how many."""
        left, done = list(marks.runs), 0
        for _ in range(ROUNDS):
            for run_id in left:
                await self._erasure.erase(run_id, wanted.reason, actor)
                done += 1
                told("runs", done, len(marks.runs))
            left = []
            async for run in self._erasure.runs(wanted):
                marks.add(run)
                left.append(run.id)
            if not left:
                break
        return done

    async def _end(self, wanted: ErasureFilter, end_runs: bool, actor: Actor) -> None:
        """Cancels open runs and waits for their end. Raises Conflict if some have not ended."""
        open_runs = await self._erasure.open_runs(wanted)
        end = asyncio.get_running_loop().time() + ENDS_S
        assert not open_runs or wanted.tenant_id is not None
        tenant_id = wanted.tenant_id or ""
        for run_id in open_runs if end_runs else ():
            with suppress(Conflict):  # it has ended meanwhile, perhaps with the run that it works for
                await cancel(self._journal, tenant_id, run_id, actor.name)
        while end_runs and open_runs and (left := end - asyncio.get_running_loop().time()) > 0:
            run = await self._journal.get(tenant_id, open_runs[0])
            if not run.status.terminal:
                await self._journal.wait(run.id, run.last_seq, left)
            open_runs = await self._erasure.open_runs(wanted)
        if open_runs:
            more = f" and {len(open_runs) - NAMED} more" if len(open_runs) > NAMED else ""
            how = (
                "they did not end within a minute; is a worker running?"
                if end_runs
                else "end them, or erase with --end-runs (end_runs in requests), which cancels them"
            )
            raise Conflict(f"{len(open_runs)} runs have not ended: {', '.join(open_runs[:NAMED])}{more}; {how}")

    def _name(self, wanted: ErasureFilter) -> str:
        """Object of the act. A digest in the place of a subject: who knows the id can find the record."""
        if wanted.before is not None:
            return f"runs that ended before {wanted.before.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if wanted.session_id is not None:
            return f"session {wanted.session_id}"
        ring, text = self._keys.ring(), f"{wanted.tenant_id}\n{wanted.subject}"
        return f"subject {ring[-1].mac(PURPOSE, text) if ring else sha256(text.encode()).hexdigest()}"

    async def _record(self, wanted: ErasureFilter, actor: Actor, name: str, details: Mapping[str, Any]) -> None:
        tenant_id = wanted.tenant_id or DEPLOYMENT
        await self._journal.acts.record(tenant_id, Act.ERASURE, actor, name, {"why": wanted.reason, **details})

    async def _out_of_reach(self, wanted: ErasureFilter) -> list[str]:
        tenants = [wanted.tenant_id] if wanted.tenant_id else await self._journal.acts.tenants()
        receivers = self._receivers.of(wanted.tenant_id)
        return await out_of_reach(self._journal, tenants, self._places, receivers)


def _is_fresh(run: Run, now: datetime) -> bool:
    return run.ended_at is not None and now - run.ended_at < FRESH


def _add(cleaned: Cleaned, more: Cleaned) -> None:
    cleaned.lines += more.lines
    cleaned.rows += more.rows
    cleaned.problems += more.problems
