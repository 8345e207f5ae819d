"""Erasure in the in-memory backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent.run.erased import erased_write
from agent.run.erasure import ErasureFilter
from agent.run.journal import Recorded
from agent.run.written import Written
from agent.store.backend import StoredResponse
from agent.store.erasable import BEGUN, DONE, Numbered
from agent.store.rules.row import Row
from flightloop.events import RunEvent
from flightloop.runs import Run
from flightloop.verdicts import AuditRecord


class MemoryErasure:
    """Implements ``agent.store.erasable.ErasureTables`` on the dicts of ``agent.store.memory``."""

    _runs: dict[str, Row]
    _events: dict[str, list[RunEvent]]
    _all: list[Recorded]
    _writes: list[tuple[str, str, str, Written]]
    _answers: dict[tuple[str, str], StoredResponse]
    _audit: dict[str, list[AuditRecord]]

    def __init__(self) -> None:
        super().__init__()
        self._progress: dict[str, int] = {}
        self._of: dict[str, str] = {}
        """Subjects of runs whose erasure is not done."""
        self._answered: dict[tuple[str, str], datetime] = {}
        """Times of the stored responses."""

    def erasable(self, wanted: ErasureFilter, ended: bool, after: int, limit: int) -> list[Numbered]:
        found = [
            Numbered(number, row.state.run)
            for number, row in enumerate(self._runs.values(), 1)
            if number > after and self._progress.get(row.id, 0) < DONE and (row.state.run.ended_at is not None) == ended
            if self._is_wanted(row.state.run, wanted)
        ]
        return found[:limit]

    def _is_wanted(self, run: Run, wanted: ErasureFilter) -> bool:
        subject = run.subject.id if run.subject else self._of.get(run.id)
        return (
            wanted.tenant_id in (None, run.tenant_id)
            and wanted.subject in (None, subject)
            and wanted.session_id in (None, run.session_id)
            and (wanted.before is None or (run.ended_at is not None and run.ended_at < wanted.before))
        )

    def half_erased(self, tenant_id: str | None, limit: int) -> list[str]:
        begun = (self._runs[run_id] for run_id, progress in self._progress.items() if progress == BEGUN)
        return [row.id for row in begun if tenant_id in (None, row.tenant_id)][:limit]

    def mark_erased(self, run_id: str, progress: int) -> None:
        self._progress[run_id] = progress
        if (subject := self._runs[run_id].state.run.subject) is not None:
            self._of[run_id] = subject.id
        if progress == DONE:
            self._of.pop(run_id, None)

    def replace_events(self, events: Sequence[RunEvent]) -> None:
        new = {(event.run_id, event.seq): event for event in events}
        for run_id in {event.run_id for event in events}:
            self._events[run_id] = [new.get((run_id, one.seq), one) for one in self._events[run_id]]
        self._all = [
            replace(one, event=new.get((one.event.run_id, one.event.seq), one.event)) if one.event.seq else one
            for one in self._all
        ]

    def erase_writes(self, run_id: str) -> None:
        for index, (tenant, session, root, one) in enumerate(self._writes):
            if one.run_id == run_id:
                left = erased_write({"arguments": one.arguments})
                self._writes[index] = (tenant, session, root, replace(one, told="", **left))

    def find_answers(self, tenant_id: str, containing: str, after: str, limit: int) -> list[tuple[str, str]]:
        own = sorted((key, answer.body) for (owner, key), answer in self._answers.items() if owner == tenant_id)
        return [(key, body) for key, body in own if key > after and containing in body][:limit]

    def replace_answer(self, tenant_id: str, key: str, body: str) -> None:
        self._answers[tenant_id, key] = replace(self._answers[tenant_id, key], body=body)

    def drop_answers(self, tenant_id: str | None, before: datetime, limit: int) -> int:
        old = [key for key, at in self._answered.items() if at < before and tenant_id in (None, key[0])][:limit]
        for key in old:
            self._answers.pop(key, None)
            del self._answered[key]
        return len(old)

    def replace_audit(self, record: AuditRecord) -> None:
        chain = self._audit[record.tenant_id]
        chain[record.seq - 1] = record
