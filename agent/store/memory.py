"""In-memory backend, for tests and deployments that need no durability."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import TypeVar

from pydantic import BaseModel

from agent.run.journal import Projection, Recorded
from agent.run.written import Written
from agent.store.backend import AuditContext, Fork, RunFilter, SessionOwner, StoredResponse, T, Transaction, WriteFilter
from agent.store.memory_audit import MemoryAudit
from agent.store.memory_counted import MemoryCountedCalls
from agent.store.memory_erasure import MemoryErasure
from agent.store.memory_spending import MemorySpending
from agent.store.rules.page import EVENT_CHARS, page
from agent.store.rules.row import Row
from flightloop.events import RunEvent
from flightloop.keys import ApiKey
from flightloop.runs import Approval, Interrupt, Run, RunStatus


class MemoryBackend:
    def __init__(self, audit: AuditContext | None = None) -> None:
        self.audit = audit or AuditContext()
        self._tables = _Tables(self.audit)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return work(self._tables)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        return work(self._tables)

    async def appear(self, worker: str) -> None:
        """Does nothing: no other process sees this journal."""

    async def gone(self, workers: Sequence[str]) -> frozenset[str]:
        return frozenset()

    def sure_s(self) -> float:
        return 0.0

    def listen(self, on_topic: Callable[[str | None], None]) -> bool:
        return False

    async def compact(self, whole: bool) -> list[str]:
        return []

    async def close(self) -> None:
        pass


class _Tables(MemoryAudit, MemorySpending, MemoryCountedCalls, MemoryErasure):
    """Tables as dicts. Their insertion order is the order of creation, which pages need."""

    def __init__(self, audit: AuditContext) -> None:
        super().__init__()
        self.audit_context = audit
        self._runs: dict[str, Row] = {}
        self._events: dict[str, list[RunEvent]] = {}
        self._all: list[Recorded] = []
        self._position = 0
        self._writes: list[tuple[str, str, str, Written]] = []  # with tenant, session and root
        self._forks: dict[str, Fork] = {}
        self._approvals: dict[str, tuple[str, Approval]] = {}
        self._interrupts: dict[str, Interrupt] = {}
        self._epoch = 0
        self._answers: dict[tuple[str, str], StoredResponse] = {}
        self._projections: dict[str, Projection] = {}
        self._keys: dict[str, tuple[str, ApiKey]] = {}

    def run(self, run_id: str) -> Row | None:
        return self._runs.get(run_id)

    def add_run(self, row: Row) -> None:
        self._runs[row.id] = row
        self._events.setdefault(row.id, [])  # a fork's events are copied before its row is added

    def save_run(self, row: Row, before: Row) -> None:
        self._runs[row.id] = row

    def page_runs(self, tenant_id: str, wanted: RunFilter, after: str | None, limit: int) -> tuple[list[Run], bool]:
        runs = [row.state.run for row in self._runs.values() if row.tenant_id == tenant_id]
        return page(_older([run for run in runs if _matches(run, wanted)], runs, after), limit, _length)

    def session_owner(self, tenant_id: str, session_id: str) -> SessionOwner | None:
        runs = (row.state.run for row in self._runs.values() if row.tenant_id == tenant_id)
        kept = (run for run in runs if run.session_id == session_id and run.erased_at is None)
        first = next(kept, None)
        return None if first is None else SessionOwner(first.subject.id if first.subject else None)

    def count_runs(self, tenant_id: str, statuses: Collection[RunStatus]) -> dict[RunStatus, int]:
        own = (row.status for row in self._runs.values() if row.tenant_id == tenant_id)
        return dict(Counter(status for status in own if status in statuses))

    def over(self, run_id: str) -> bool:
        row = self._runs.get(run_id)
        return row is not None and (row.status.terminal or row.state.cancel_requested)

    def uncancelled_children(self, run_id: str, limit: int) -> list[str]:
        return [child for child, parent in self._uncancelled_children() if parent == run_id][:limit]

    def with_uncancelled_children(self, limit: int) -> list[str]:
        return list(dict.fromkeys(parent for _, parent in self._uncancelled_children() if self.over(parent)))[:limit]

    def _uncancelled_children(self) -> Iterator[tuple[str, str]]:
        """Ids of uncancelled open sub-runs, each with its parent's id."""
        for row in self._runs.values():
            if row.state.run.parent is not None and not self.over(row.id):
                yield row.id, row.state.run.parent.run_id

    def claimable(
        self, now: datetime, gone: Collection[str] = (), besides: Collection[str] = (), held: Collection[str] = ()
    ) -> Row | None:
        free = [
            row
            for row in self._runs.values()
            if row.tenant_id not in besides
            and row.id not in held
            and (
                row.status is RunStatus.QUEUED
                or (row.lease_until is not None and (row.lease_until <= now or row.holder in gone))
            )
        ]
        return min(free, key=lambda row: row.queued_at, default=None)

    def holders(self) -> list[str]:
        return sorted({row.holder for row in self._runs.values() if row.holder is not None})

    def cancelled(self, worker: str) -> list[str]:
        held = [row for row in self._runs.values() if row.holder == worker and row.status is RunStatus.RUNNING]
        return [row.id for row in held if row.state.cancel_requested]

    def extend_lease(self, run_id: str, until: datetime) -> None:
        self._runs[run_id] = replace(self._runs[run_id], lease_until=until)

    def last_seq(self, run_id: str) -> int:
        row = self._runs.get(run_id)
        return row.state.run.last_seq if row else 0

    def add_events(self, tenant_id: str, events: Sequence[RunEvent], documents: Sequence[str] | None = None) -> None:
        for event in events:
            own = self._events.setdefault(event.run_id, [])  # a completion has no run
            insort(own, event, key=lambda one: one.seq)  # the first event of a fork is written last
            self._position += 1
            self._all.append(Recorded(self._position, tenant_id, event))

    def events(self, run_id: str, after: int, limit: int) -> list[RunEvent]:
        return page(self._events.get(run_id, [])[after : after + limit], limit, _length, EVENT_CHARS)[0]

    def read_all(self, after: int, limit: int) -> list[Recorded]:
        first = bisect_right(self._all, after, key=lambda recorded: recorded.position)
        return page(self._all[first : first + limit], limit, lambda recorded: _length(recorded.event))[0]

    def root(self, run_id: str) -> str:
        return self._forks[run_id].root_id if run_id in self._forks else run_id

    def root_session(self, tenant_id: str, session_id: str) -> str:
        known = (one for one in self._forks.values() if (one.tenant_id, one.session_id) == (tenant_id, session_id))
        return next((one.root_session_id for one in known), session_id)

    def fork(self, run_id: str) -> Fork | None:
        return self._forks.get(run_id)

    def save_fork(self, fork: Fork) -> None:
        self._forks[fork.run_id] = fork

    def drop_fork(self, run_id: str) -> None:
        self._forks.pop(run_id, None)

    def unfinished_forks(self, before: datetime, limit: int) -> list[str]:
        latest = {one.run_id: one.copied_at for one in self._forks.values() if one.copied_at is not None}
        return [run_id for run_id, at in latest.items() if at < before.timestamp()][:limit]

    def drop_events(self, run_id: str, limit: int) -> int:
        own = self._events.pop(run_id, [])
        dropped = own[-limit:]
        if own[:-limit]:
            self._events[run_id] = own[:-limit]
        gone = set(map(id, dropped))
        self._all = [one for one in self._all if id(one.event) not in gone]
        return len(dropped)

    def add_write(self, tenant_id: str, session_id: str, root: str, written: Written) -> None:
        self._writes.append((tenant_id, session_id, root, written))

    def end_write(self, run_id: str, call_id: str, ok: bool, uncertain: bool, told: str) -> None:
        for index, (tenant, session, root, one) in enumerate(self._writes):
            if (one.run_id, one.call_id) == (run_id, call_id):
                self._writes[index] = (tenant, session, root, replace(one, ok=ok, uncertain=uncertain, told=told))

    def write_under_way(self, run_id: str, args_sha256: str | None, tool: str | None) -> int | None:
        under_way = (
            number
            for number, (*_, one) in enumerate(self._writes)
            if one.run_id == run_id and one.ok is None
            if args_sha256 in (None, one.args_sha256) and tool in (None, one.tool)
        )
        return next(under_way, None)

    def writes(self, tenant_id: str, session_id: str, root: str, wanted: WriteFilter, limit: int) -> list[Written]:
        of_session = (
            replace(one, kin=of == root)
            for tenant, session, of, one in reversed(self._writes[: wanted.before])
            if (tenant, session) == (tenant_id, session_id) and one.run_id != wanted.besides
            if wanted.args_sha256 in (None, one.args_sha256) and wanted.tool in (None, one.tool)
        )
        return list(islice(of_session, limit))

    def approval(self, approval_id: str) -> tuple[str, Approval] | None:
        return self._approvals.get(approval_id)

    def add_approval(self, tenant_id: str, approval: Approval) -> None:
        self._approvals[approval.id] = (tenant_id, approval)

    def save_approval(self, approval: Approval) -> None:
        self._approvals[approval.id] = (self._approvals[approval.id][0], approval)

    def page_approvals(
        self, tenant_id: str, status: str | None, run_id: str | None, after: str | None, limit: int
    ) -> tuple[list[Approval], bool]:
        own = [approval for owner, approval in self._approvals.values() if owner == tenant_id]
        matching = [one for one in own if status in (None, one.status) and run_id in (None, one.run_id)]
        return page(_older(matching, own, after), limit, _length)

    def count_approvals(self, tenant_id: str, status: str) -> int:
        return sum(owner == tenant_id and one.status == status for owner, one in self._approvals.values())

    def run_approvals(self, run_id: str) -> list[Approval]:
        return [approval for _, approval in self._approvals.values() if approval.run_id == run_id]

    def pending_approvals(self, run_id: str) -> list[Approval]:
        return [approval for approval in self.run_approvals(run_id) if approval.status == "pending"]

    def count_pending(self, run_id: str) -> int:
        return len(self.pending_approvals(run_id))

    def overdue_approvals(self, now: datetime, limit: int) -> list[Approval]:
        found = (approval for _, approval in self._approvals.values())
        due = [approval for approval in found if approval.status == "pending" and approval.expires_at <= now]
        return sorted(due, key=lambda approval: approval.expires_at)[:limit]

    def epoch(self) -> int:
        return self._epoch

    def next_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def interrupt(self, interrupt_id: str) -> Interrupt | None:
        return self._interrupts.get(interrupt_id)

    def add_interrupt(self, interrupt: Interrupt) -> None:
        self._interrupts[interrupt.id] = interrupt

    def save_interrupt(self, interrupt: Interrupt) -> None:
        self._interrupts[interrupt.id] = interrupt

    def forget_interrupts(self, tenant_id: str, kept: int) -> list[Interrupt]:
        past = [
            found
            for found in self._interrupts.values()
            if found.tenant_id == tenant_id and (found.cleared_at is not None or found.scope == "run")
        ]
        for one in past[:-kept]:
            del self._interrupts[one.id]
        return past[:-kept]

    def interrupts(self, tenant_id: str | None, cleared_after: datetime | None) -> list[Interrupt]:
        return [
            found
            for found in reversed(self._interrupts.values())
            if tenant_id in (None, found.tenant_id)
            and (found.cleared_at is None or (cleared_after is not None and found.cleared_at >= cleared_after))
        ]

    def latched(self, tenant_id: str) -> int:
        return sum(found.scope != "run" for found in self.interrupts(tenant_id, None))

    def answer(self, tenant_id: str, key: str) -> StoredResponse | None:
        return self._answers.get((tenant_id, key))

    def add_answer(self, tenant_id: str, key: str, answer: StoredResponse, at: datetime) -> None:
        self._answers[tenant_id, key] = answer
        self._answered[tenant_id, key] = at

    def drop_answer(self, tenant_id: str, key: str) -> None:
        self._answers.pop((tenant_id, key), None)

    def add_key(self, key: ApiKey, sha256: str) -> None:
        self._keys[key.id] = sha256, key

    def save_key(self, key: ApiKey) -> None:
        self._keys[key.id] = self._keys[key.id][0], key

    def key_by_digest(self, sha256: str) -> ApiKey | None:
        return next((key for known, key in self._keys.values() if known == sha256), None)

    def key(self, tenant_id: str, key_id: str) -> ApiKey | None:
        _, key = self._keys.get(key_id, ("", None))
        return key if key is not None and key.tenant_id == tenant_id else None

    def page_keys(self, tenant_id: str, after: str | None, limit: int) -> tuple[list[ApiKey], bool]:
        own = [key for _, key in self._keys.values() if key.tenant_id == tenant_id]
        return page(_older(own, own, after), limit, _length)

    def count_keys(self, tenant_id: str) -> int:
        return sum(key.tenant_id == tenant_id for _, key in self._keys.values())

    def deciders(self, tenant_id: str, limit: int) -> list[ApiKey]:
        own = (key for _, key in self._keys.values() if key.tenant_id == tenant_id)
        return [key for key in own if key.revoked_at is None and key.may_decide][:limit]

    def drop_revoked_key(self, tenant_id: str) -> bool:
        revoked = (key for _, key in self._keys.values() if key.tenant_id == tenant_id and key.revoked_at is not None)
        oldest = next(revoked, None)
        if oldest is not None:
            del self._keys[oldest.id]
        return oldest is not None

    def projection(self, name: str) -> Projection | None:
        return self._projections.get(name)

    def projections(self, prefix: str) -> dict[str, Projection]:
        return {name: one for name, one in self._projections.items() if name.startswith(prefix)}

    def save_projection(self, name: str, projection: Projection) -> None:
        self._projections[name] = projection


def _matches(run: Run, wanted: RunFilter) -> bool:
    return (
        wanted.agent in (None, run.agent)
        and wanted.status in (None, run.status)
        and wanted.session_id in (None, run.session_id)
        and wanted.subject in (None, run.subject and run.subject.id)
        and wanted.parent in (None, run.parent and run.parent.run_id)
        and not (wanted.roots and run.parent)
    )


Item = TypeVar("Item", Run, Approval, ApiKey)


def _length(document: BaseModel) -> int:
    return len(document.model_dump_json())


def _older(matching: list[Item], everything: list[Item], after: str | None) -> list[Item]:
    """Items of ``matching`` that are older than the item ``after``, newest first. Both lists are oldest first."""
    ids = [item.id for item in everything]
    older = set(ids if after is None else ids[: ids.index(after)])
    return [item for item in reversed(matching) if item.id in older]
