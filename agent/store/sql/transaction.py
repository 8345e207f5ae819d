"""The backend's reads and writes as SQL statements on one connection."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, Table, and_, bindparam, delete, func, insert, or_, select, text, update

from agent.run.journal import Projection, Recorded
from agent.run.state import RunState
from agent.store.backend import Answer, RunFilter
from agent.store.notifier import CHANNEL, topics
from agent.store.rules.page import EVENT_CHARS, page
from agent.store.rules.row import Row
from agent.store.sql import tables as t
from agent.store.sql.child_runs import SqlFamilies
from agent.store.sql.forks import SqlForks
from agent.store.sql.interrupts import SqlInterrupts
from agent.store.sql.pending import SqlPending
from agent.store.sql.prepared import Prepared
from agent.store.sql.spending import SqlSpending
from agent.store.sql.writes import SqlWrites
from flightloop.events import RunEvent, run_event
from flightloop.keys import ApiKey
from flightloop.runs import Approval, Run, RunStatus
from flightloop.verdicts import AuditRecord

_FEW = {"yield_per": 16}
"""Rows that are read at a time where a page may end before the last one."""
_COLUMNS = [column.name for column in t.runs.columns]
_RUN = Prepared(select(t.runs).where(t.runs.c.id == bindparam("of_run")))
_PLACE = ("status", "queued_at", "holder", "fence", "lease_until")
_PROGRESS = (
    "last_seq",
    "document",
    "held_at",
    "cancel_requested",
    "confident_calls",
    "reserved",
    "settled_seconds",
)


def _saved(*names: str) -> Prepared:
    given: dict[str, Any] = {name: bindparam(name) for name in names}
    return Prepared(update(t.runs).where(t.runs.c.id == bindparam("of_run")).values(given))


_SAVE_RUN, _SAVE_PROGRESS = _saved(*_PLACE, *_PROGRESS), _saved(*_PROGRESS)
_ADD_EVENT = Prepared(
    insert(t.events).values({name: bindparam(name) for name in ("tenant_id", "run_id", "seq", "document")}).inline()
)
_NOTIFY = Prepared(text(f"SELECT pg_notify('{CHANNEL}', topic) FROM unnest(CAST(:topics AS text[])) AS topic"))
_LAST_SEQ = Prepared(select(t.runs.c.last_seq).where(t.runs.c.id == bindparam("of_run")))
_EVENTS = Prepared(
    select(t.events.c.document)
    .where(t.events.c.run_id == bindparam("of_run"), t.events.c.seq > bindparam("after"))
    .order_by(t.events.c.seq)
    .limit(bindparam("most"))
)
_AUDIT = (t.audit.c.tenant_id, t.audit.c.seq, t.audit.c.run_id, t.audit.c.document)
_LAST_AUDIT = Prepared(
    select(*_AUDIT).where(t.audit.c.tenant_id == bindparam("of_tenant")).order_by(t.audit.c.seq.desc()).limit(1)
)
_ADD_AUDIT = Prepared(insert(t.audit).values({column.name: bindparam(column.name) for column in _AUDIT}).inline())
_CANCELLED = Prepared(
    select(t.runs.c.id).where(
        t.runs.c.status == RunStatus.RUNNING.value,
        t.runs.c.holder == bindparam("of_worker"),
        t.runs.c.cancel_requested.is_(True),
    )
)


class SqlTransaction(SqlFamilies, SqlForks, SqlInterrupts, SqlPending, SqlSpending, SqlWrites):
    """Implements ``agent.store.backend.Transaction``. No row is locked: writing transactions come one at a time."""

    # -- runs -------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Row | None:
        found = _RUN.rows(self._connection, {"of_run": run_id})
        return _made(dict(zip(_COLUMNS, found[0], strict=True))) if found else None

    def add_run(self, row: Row) -> None:
        self._connection.execute(insert(t.runs).values(_run_values(row)))
        self._notify(row)

    def save_run(self, row: Row, before: Row) -> None:
        stays = all(getattr(row, name) == getattr(before, name) for name in _PLACE)  # most do, and so do their indices
        statement, values = (
            (_SAVE_PROGRESS, _progress(row)) if stays else (_SAVE_RUN, {**_place(row), **_progress(row)})
        )
        statement.write(self._connection, [{"of_run": row.id, **values}])
        self._notify(row)

    def _notify(self, row: Row) -> None:
        """Tells the other processes, once this is committed."""
        if self._connection.dialect.name == "postgresql":
            _NOTIFY.rows(self._connection, {"topics": sorted(topics(row.state.run))})

    def page_runs(self, tenant_id: str, wanted: RunFilter, after: str | None, limit: int) -> tuple[list[Run], bool]:
        query = select(t.runs.c.document).where(t.runs.c.tenant_id == tenant_id)
        if wanted.agent is not None:
            query = query.where(t.runs.c.agent == wanted.agent)
        if wanted.status is not None:
            query = query.where(t.runs.c.status == wanted.status.value)
        if wanted.session_id is not None:
            query = query.where(t.runs.c.session_id == wanted.session_id)
        if wanted.parent is not None:
            query = query.where(t.runs.c.parent_id == wanted.parent)
        if wanted.roots:
            query = query.where(t.runs.c.parent_id.is_(None))
        found, more = self._page(_older(query, t.runs, after), limit)
        return [Run.model_validate_json(document) for document in found], more

    def count_runs(self, tenant_id: str, statuses: Collection[RunStatus]) -> dict[RunStatus, int]:
        runs = t.runs.c
        among = runs.status.in_([one.value for one in statuses])  # few rows by the index on the status
        query = select(runs.status, func.count()).where(runs.tenant_id == tenant_id, among).group_by(runs.status)
        return {RunStatus(status): count for status, count in self._connection.execute(query)}

    def claimable(
        self, now: datetime, gone: Collection[str] = (), besides: Collection[str] = (), held: Collection[str] = ()
    ) -> Row | None:
        runs = t.runs.c
        over = or_(runs.lease_until <= now.timestamp(), runs.holder.in_(gone))
        free = or_(runs.status == RunStatus.QUEUED.value, and_(runs.status == RunStatus.RUNNING.value, over))
        query = select(t.runs).where(free)
        if besides:
            query = query.where(runs.tenant_id.not_in(besides))
        if held:
            query = query.where(runs.id.not_in(held))
        return self._row(query.order_by(runs.queued_at, runs.number).limit(1))

    def holders(self) -> list[str]:
        runs = t.runs.c
        query = select(runs.holder).where(runs.status == RunStatus.RUNNING.value, runs.holder.is_not(None)).distinct()
        return list(self._connection.execute(query).scalars())

    def cancelled(self, worker: str) -> list[str]:
        return [run_id for (run_id,) in _CANCELLED.rows(self._connection, {"of_worker": worker})]

    def extend_lease(self, run_id: str, until: datetime) -> None:
        self._connection.execute(update(t.runs).where(t.runs.c.id == run_id).values(lease_until=until.timestamp()))

    def _row(self, query: Select[Any]) -> Row | None:
        found = self._connection.execute(query).mappings().one_or_none()
        return None if found is None else _made(found)

    # -- events -----------------------------------------------------------------------------------

    def last_seq(self, run_id: str) -> int:
        found = _LAST_SEQ.rows(self._connection, {"of_run": run_id})
        return int(found[0][0]) if found else 0

    def add_events(self, tenant_id: str, events: Sequence[RunEvent], documents: Sequence[str] | None = None) -> None:
        if documents is None:
            documents = [event.model_dump_json() for event in events]
        rows = [
            {"tenant_id": tenant_id, "run_id": event.run_id, "seq": event.seq, "document": document}
            for event, document in zip(events, documents, strict=True)
        ]
        _ADD_EVENT.write(self._connection, rows)

    def events(self, run_id: str, after: int, limit: int) -> list[RunEvent]:
        found = _EVENTS.each(self._connection, {"of_run": run_id, "after": after, "most": limit})
        documents, _ = page(found, limit, lambda row: len(row[0]), EVENT_CHARS)
        return [run_event.validate_json(document) for (document,) in documents]

    def read_all(self, after: int, limit: int) -> list[Recorded]:
        events = t.events.c
        query = select(events.position, events.tenant_id, events.document).where(events.position > after)
        with self._connection.execute(query.order_by(events.position).limit(limit), execution_options=_FEW) as rows:
            found, _ = page(rows, limit, lambda row: len(row.document))
        return [Recorded(position, tenant, run_event.validate_json(document)) for position, tenant, document in found]

    # -- audit ------------------------------------------------------------------------------------

    def last_audit(self, tenant_id: str) -> AuditRecord | None:
        found = _LAST_AUDIT.rows(self._connection, {"of_tenant": tenant_id})
        return _audit_record(found[0]) if found else None

    def add_audit(self, records: Sequence[AuditRecord]) -> None:
        rows = [
            {"tenant_id": item.tenant_id, "seq": item.seq, "run_id": item.run_id, "document": _audit_document(item)}
            for item in records
        ]
        _ADD_AUDIT.write(self._connection, rows)

    def audit(self, tenant_id: str, run_id: str | None, after: int, limit: int) -> list[AuditRecord]:
        query = select(*_AUDIT).where(t.audit.c.tenant_id == tenant_id, t.audit.c.seq > after)
        if run_id is not None:
            query = query.where(t.audit.c.run_id == run_id)
        query = query.order_by(t.audit.c.seq).limit(limit)
        with self._connection.execute(query, execution_options=_FEW) as rows:
            found, _ = page(rows, limit, lambda row: len(row.document))
        return [_audit_record(row) for row in found]

    # -- approvals --------------------------------------------------------------------------------

    def approval(self, approval_id: str) -> tuple[str, Approval] | None:
        query = select(t.approvals.c.tenant_id, t.approvals.c.document).where(t.approvals.c.id == approval_id)
        found = self._connection.execute(query).one_or_none()
        return None if found is None else (found.tenant_id, Approval.model_validate_json(found.document))

    def add_approval(self, tenant_id: str, approval: Approval) -> None:
        values = {"tenant_id": tenant_id, "run_id": approval.run_id, **_approval_values(approval)}
        self._connection.execute(insert(t.approvals).values(values))

    def save_approval(self, approval: Approval) -> None:
        change = update(t.approvals).where(t.approvals.c.id == approval.id).values(_approval_values(approval))
        self._connection.execute(change)

    def page_approvals(
        self, tenant_id: str, status: str | None, run_id: str | None, after: str | None, limit: int
    ) -> tuple[list[Approval], bool]:
        query = select(t.approvals.c.document).where(t.approvals.c.tenant_id == tenant_id)
        if status is not None:
            query = query.where(t.approvals.c.status == status)
        if run_id is not None:
            query = query.where(t.approvals.c.run_id == run_id)
        found, more = self._page(_older(query, t.approvals, after), limit)
        return [Approval.model_validate_json(document) for document in found], more

    def count_approvals(self, tenant_id: str, status: str) -> int:
        approvals = t.approvals.c
        query = select(func.count()).where(approvals.tenant_id == tenant_id, approvals.status == status)
        return int(self._connection.execute(query).scalar_one())

    def run_approvals(self, run_id: str) -> list[Approval]:
        query = select(t.approvals.c.document).where(t.approvals.c.run_id == run_id).order_by(t.approvals.c.number)
        return [Approval.model_validate_json(document) for (document,) in self._connection.execute(query)]

    def _page(self, query: Select[Any], limit: int) -> tuple[list[str], bool]:
        """Documents, and whether there are more."""
        with self._connection.execute(query.limit(limit + 1), execution_options=_FEW) as rows:
            return page(rows.scalars(), limit, len)

    # -- API keys ---------------------------------------------------------------------------------

    def add_key(self, key: ApiKey, sha256: str) -> None:
        values = {"id": key.id, "tenant_id": key.tenant_id, "sha256": sha256, "document": key.model_dump_json()}
        self._connection.execute(insert(t.keys).values(values))

    def save_key(self, key: ApiKey) -> None:
        self._connection.execute(update(t.keys).where(t.keys.c.id == key.id).values(document=key.model_dump_json()))

    def key_by_digest(self, sha256: str) -> ApiKey | None:
        query = select(t.keys.c.document).where(t.keys.c.sha256 == sha256)
        document = self._connection.execute(query).scalar_one_or_none()
        return None if document is None else ApiKey.model_validate_json(document)

    def keys(self, tenant_id: str) -> list[ApiKey]:
        query = select(t.keys.c.document).where(t.keys.c.tenant_id == tenant_id).order_by(t.keys.c.number.desc())
        return [ApiKey.model_validate_json(document) for (document,) in self._connection.execute(query)]

    # -- idempotency, projections -----------------------------------------------------------------

    def answer(self, tenant_id: str, key: str) -> Answer | None:
        query = select(t.answers.c.digest, t.answers.c.body)
        query = query.where(t.answers.c.tenant_id == tenant_id, t.answers.c.key == key)
        found = self._connection.execute(query).one_or_none()
        return None if found is None else Answer(found.digest, found.body)

    def add_answer(self, tenant_id: str, key: str, answer: Answer, at: datetime) -> None:
        values = {"tenant_id": tenant_id, "key": key, "digest": answer.digest, "body": answer.body}
        self._connection.execute(insert(t.answers).values({**values, "created_at": at.timestamp()}))

    def drop_answer(self, tenant_id: str, key: str) -> None:
        self._connection.execute(delete(t.answers).where(t.answers.c.tenant_id == tenant_id, t.answers.c.key == key))

    def projection(self, name: str) -> Projection | None:
        query = select(t.projections.c.cursor, t.projections.c.state).where(t.projections.c.name == name)
        found = self._connection.execute(query).one_or_none()
        return None if found is None else Projection(found.cursor, json.loads(found.state))

    def save_projection(self, name: str, projection: Projection) -> None:
        values = {"cursor": projection.cursor, "state": json.dumps(projection.state)}
        changed = self._connection.execute(update(t.projections).where(t.projections.c.name == name).values(values))
        if changed.rowcount == 0:
            self._connection.execute(insert(t.projections).values({"tenant_id": t.ALL_TENANTS, "name": name, **values}))


def _made(found: Mapping[Any, Any]) -> Row:
    state = RunState(
        run=Run.model_validate_json(found["document"]),
        held_at=_time(found["held_at"]),
        cancel_requested=bool(found["cancel_requested"]),
        confident_calls=found["confident_calls"],
    )
    return Row(
        state=state,
        queued_at=datetime.fromtimestamp(found["queued_at"], UTC),
        holder=found["holder"],
        fence=found["fence"],
        lease_until=_time(found["lease_until"]),
        reserved=bool(found["reserved"]),
        settled_s=found["settled_seconds"],
    )


def _older(query: Select[Any], table: Table, after: str | None) -> Select[Any]:
    """Newest first, from behind the row with id ``after``."""
    if after is not None:
        number = select(table.c.number).where(table.c.id == after).scalar_subquery()
        query = query.where(table.c.number < number)
    return query.order_by(table.c.number.desc())


def _run_values(row: Row) -> dict[str, Any]:
    run = row.state.run
    return {
        "id": run.id,
        "tenant_id": run.tenant_id,
        "agent": run.agent,
        "session_id": run.session_id,
        "parent_id": run.parent.run_id if run.parent else None,
        **_place(row),
        **_progress(row),
    }


def _place(row: Row) -> dict[str, Any]:
    """Where the run stands among others, and with whom."""
    return {
        "status": row.status.value,
        "queued_at": row.queued_at.timestamp(),
        "holder": row.holder,
        "fence": row.fence,
        "lease_until": _seconds(row.lease_until),
    }


def _progress(row: Row) -> dict[str, Any]:
    """What each step changes."""
    return {
        "last_seq": row.state.run.last_seq,
        "document": row.state.run.model_dump_json(),
        "held_at": _seconds(row.state.held_at),
        "cancel_requested": row.state.cancel_requested,
        "confident_calls": row.state.confident_calls,
        "reserved": row.reserved,
        "settled_seconds": row.settled_s,
    }


def _audit_document(record: AuditRecord) -> str:
    """What no column holds, and is not as always: there is a record of every step of a run."""
    return record.model_dump_json(exclude={"tenant_id", "seq", "run_id"}, exclude_defaults=True)


def _audit_record(row: Sequence[Any]) -> AuditRecord:
    tenant_id, seq, run_id, document = row
    return AuditRecord.model_validate({**json.loads(document), "tenant_id": tenant_id, "seq": seq, "run_id": run_id})


def _approval_values(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "status": approval.status,
        "expires_at": approval.expires_at.timestamp(),
        "document": approval.model_dump_json(),
    }


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
