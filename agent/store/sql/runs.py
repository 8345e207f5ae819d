"""Runs, as SQL statements on one connection."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from agent.run.state import RunState
from agent.store.backend import RunFilter, SessionOwner
from agent.store.notifier import CHANNEL, topics
from agent.store.rules.page import page
from agent.store.rules.row import Row
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.runs import Run, RunStatus

_ROW = (
    "document, held_at, cancel_requested, confident_calls, queued_at, holder, fence, lease_until, reserved,"
    " settled_seconds"
)
_PLACE = ("status", "queued_at", "holder", "fence", "lease_until", "ended_at")
"""Columns of the queue and the lease."""
_PROGRESS = (
    "last_seq",
    "document",
    "held_at",
    "cancel_requested",
    "confident_calls",
    "reserved",
    "settled_seconds",
)
"""Columns that each step changes."""


def _saved(*columns: str) -> Statement:
    return Statement(f"UPDATE runs SET {', '.join(f'{name} = :{name}' for name in columns)} WHERE id = :id")


GET = Statement(f"SELECT {_ROW} FROM runs WHERE id = :id")
ADD = Statement.insert("runs", "id", "tenant_id", "agent", "session_id", "subject_id", "parent_id", *_PLACE, *_PROGRESS)
SAVE = _saved(*_PLACE, *_PROGRESS)
SAVE_PROGRESS = _saved(*_PROGRESS)
NOTIFY = Statement(f"SELECT pg_notify('{CHANNEL}', topic) FROM unnest(CAST(:topics AS text[])) AS topic")
LAST_SEQ = Statement("SELECT last_seq FROM runs WHERE id = :id")
PAGE = Statement(
    """
    SELECT document FROM runs
    WHERE tenant_id = :tenant_id
      [AND agent = :agent] [AND status = :status] [AND session_id = :session_id]
      [AND subject_id = :subject_id] [AND parent_id = :parent_id]
      [AND parent_id IS NULL AND :roots]
      [AND number < (SELECT number FROM runs WHERE id = :after)]
    ORDER BY number DESC LIMIT :most
    """
)
SESSION_OWNER = Statement(
    """
    SELECT subject_id FROM runs
    WHERE tenant_id = :tenant_id AND session_id = :session_id AND erased = 0 ORDER BY number LIMIT 1
    """
)
COUNT = Statement(
    """
    SELECT status, COUNT(*) FROM runs
    WHERE tenant_id = :tenant_id AND AMONG(status, :statuses)
    GROUP BY status
    """
)
"""Uses the index on the status and so reads few rows."""
CLAIMABLE = Statement(
    f"""
    SELECT {_ROW} FROM runs
    WHERE (status = 'queued' OR status = 'running' AND (lease_until <= :now OR AMONG(holder, :gone)))
      [AND NOT AMONG(tenant_id, :besides)] [AND NOT AMONG(id, :held)]
    ORDER BY queued_at, number LIMIT 1
    """
)
HOLDERS = Statement("SELECT DISTINCT holder FROM runs WHERE status = 'running' AND holder IS NOT NULL")
CANCELLED = Statement("SELECT id FROM runs WHERE status = 'running' AND holder = :worker AND cancel_requested")
EXTEND_LEASE = Statement("UPDATE runs SET lease_until = :until WHERE id = :id")


class SqlRuns:
    """The part of ``agent.store.backend.Transaction`` that stores runs and their leases."""

    _connection: Connection

    def run(self, run_id: str) -> Row | None:
        found = self._connection.row(GET, id=run_id)
        return _made(found) if found else None

    def add_run(self, row: Row) -> None:
        run = row.state.run
        self._connection.write(
            ADD,
            id=run.id,
            tenant_id=run.tenant_id,
            agent=run.agent,
            session_id=run.session_id,
            subject_id=run.subject.id if run.subject else None,
            parent_id=run.parent.run_id if run.parent else None,
            **_place(row),
            **_progress(row),
        )
        self._notify(row)

    def save_run(self, row: Row, before: Row) -> None:
        place = _place(row)
        if place == _place(before):  # the usual case, in which no index changes
            self._connection.write(SAVE_PROGRESS, id=row.id, **_progress(row))
        else:
            self._connection.write(SAVE, id=row.id, **place, **_progress(row))
        self._notify(row)

    def _notify(self, row: Row) -> None:
        """Makes PostgreSQL notify other processes after the commit."""
        if self._connection.kind == "postgresql":
            self._connection.rows(NOTIFY, topics=sorted(topics(row.state.run)))

    def page_runs(self, tenant_id: str, wanted: RunFilter, after: str | None, limit: int) -> tuple[list[Run], bool]:
        query: dict[str, Any] = {
            "tenant_id": tenant_id,
            "agent": wanted.agent,
            "status": wanted.status and wanted.status.value,
            "session_id": wanted.session_id,
            "subject_id": wanted.subject,
            "parent_id": wanted.parent,
            "roots": wanted.roots or None,
            "after": after,
            "most": limit + 1,
        }
        with self._connection.each(PAGE, **query) as rows:
            found, more = page((document for (document,) in rows), limit, len)
        return [Run.model_validate_json(document) for document in found], more

    def session_owner(self, tenant_id: str, session_id: str) -> SessionOwner | None:
        found = self._connection.row(SESSION_OWNER, tenant_id=tenant_id, session_id=session_id)
        return SessionOwner(found[0]) if found else None

    def count_runs(self, tenant_id: str, statuses: Collection[RunStatus]) -> dict[RunStatus, int]:
        wanted = [status.value for status in statuses]
        found = self._connection.rows(COUNT, tenant_id=tenant_id, statuses=wanted)
        return {RunStatus(status): count for status, count in found}

    def claimable(
        self, now: datetime, gone: Collection[str] = (), besides: Collection[str] = (), held: Collection[str] = ()
    ) -> Row | None:
        found = self._connection.row(
            CLAIMABLE, now=now.timestamp(), gone=gone, besides=besides or None, held=held or None
        )
        return _made(found) if found else None

    def holders(self) -> list[str]:
        return self._connection.column(HOLDERS)

    def cancelled(self, worker: str) -> list[str]:
        return self._connection.column(CANCELLED, worker=worker)

    def extend_lease(self, run_id: str, until: datetime) -> None:
        self._connection.write(EXTEND_LEASE, id=run_id, until=until.timestamp())

    def last_seq(self, run_id: str) -> int:
        found = self._connection.row(LAST_SEQ, id=run_id)
        return int(found[0]) if found else 0


def _made(found: tuple[Any, ...]) -> Row:
    document, held_at, cancel_requested, confident_calls, queued_at, holder, fence, lease_until, reserved, settled = (
        found
    )
    state = RunState(
        run=Run.model_validate_json(document),
        held_at=_time(held_at),
        cancel_requested=bool(cancel_requested),
        confident_calls=confident_calls,
    )
    return Row(
        state=state,
        queued_at=datetime.fromtimestamp(queued_at, UTC),
        holder=holder,
        fence=fence,
        lease_until=_time(lease_until),
        reserved=bool(reserved),
        settled_s=settled,
    )


def _place(row: Row) -> dict[str, Any]:
    return {
        "status": row.status.value,
        "queued_at": row.queued_at.timestamp(),
        "holder": row.holder,
        "fence": row.fence,
        "lease_until": _seconds(row.lease_until),
        "ended_at": _seconds(row.state.run.ended_at),
    }


def _progress(row: Row) -> dict[str, Any]:
    return {
        "last_seq": row.state.run.last_seq,
        "document": row.state.run.model_dump_json(),
        "held_at": _seconds(row.state.held_at),
        "cancel_requested": row.state.cancel_requested,
        "confident_calls": row.state.confident_calls,
        "reserved": row.reserved,
        "settled_seconds": row.settled_s,
    }


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
