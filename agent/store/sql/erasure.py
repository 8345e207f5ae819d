"""Erasure, as SQL statements on one connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agent.run.erased import erased_write
from agent.run.erasure import ErasureFilter
from agent.store.erasable import BEGUN, DONE, Numbered
from agent.store.rules.page import page
from agent.store.sql.audit import audit_row
from agent.store.sql.connection import Connection
from agent.store.sql.spending import LAST_DAY, SUBJECT, on_day
from agent.store.sql.statement import Statement
from flightloop.events import RunEvent
from flightloop.runs import Run
from flightloop.verdicts import AuditRecord

ERASABLE = Statement(
    f"""
    SELECT number, document FROM runs
    WHERE erased < {DONE} AND number > :after
      [AND tenant_id = :tenant_id] [AND subject_id = :subject_id] [AND session_id = :session_id]
      [AND ended_at < :before] [AND ended_at IS NOT NULL AND :ended] [AND ended_at IS NULL AND :going]
    ORDER BY number LIMIT :most
    """
)
HALF = Statement(f"SELECT id FROM runs WHERE erased = {BEGUN} [AND tenant_id = :tenant_id] ORDER BY number LIMIT :most")
MARK = Statement("UPDATE runs SET erased = :progress WHERE id = :id")
DONE_WITH = Statement(f"UPDATE runs SET erased = {DONE}, subject_id = NULL WHERE id = :id")
REPLACE_EVENT = Statement("UPDATE events SET document = :document WHERE run_id = :run_id AND seq = :seq")
WRITES = Statement("SELECT number, document FROM writes WHERE run_id = :run_id ORDER BY number")
REPLACE_WRITE = Statement("UPDATE writes SET told = '', document = :document WHERE number = :number")
ANSWERS = Statement(
    """
    SELECT key, body FROM answers
    WHERE tenant_id = :tenant_id AND key > :after AND body LIKE :pattern ESCAPE '!'
    ORDER BY key LIMIT :most
    """
)
REPLACE_ANSWER = Statement("UPDATE answers SET body = :body WHERE tenant_id = :tenant_id AND key = :key")
OLD_ANSWERS = Statement(
    """
    SELECT tenant_id, key FROM answers
    WHERE created_at < :before [AND tenant_id = :tenant_id] ORDER BY created_at LIMIT :most
    """
)
DROP_ANSWER = Statement("DELETE FROM answers WHERE tenant_id = :tenant_id AND key = :key")
DROP_SPENDING = Statement(
    f"""
    DELETE FROM spending
    WHERE tenant_id = :tenant_id AND scope = '{SUBJECT}' AND name >= :first AND name <= :last
    """
)
DROP_RESERVATIONS = Statement("DELETE FROM reservations WHERE tenant_id = :tenant_id AND subject_id = :subject_id")
REPLACE_AUDIT = Statement(
    """
    UPDATE audit SET document = :document, actor_id = :actor_id, actor = :actor
    WHERE tenant_id = :tenant_id AND seq = :seq
    """
)
_AUDIT = ("tenant_id", "seq", "document", "actor_id", "actor")


class SqlErasure:
    """Implements ``agent.store.erasable.ErasureTables``."""

    _connection: Connection

    def erasable(self, wanted: ErasureFilter, ended: bool, after: int, limit: int) -> list[Numbered]:
        query: dict[str, Any] = {
            "after": after,
            "tenant_id": wanted.tenant_id,
            "subject_id": wanted.subject,
            "session_id": wanted.session_id,
            "before": wanted.before and wanted.before.timestamp(),
            "ended": ended or None,
            "going": not ended or None,
            "most": limit,
        }
        with self._connection.each(ERASABLE, **query) as rows:
            found, _ = page(rows, limit, lambda row: len(row[1]))
        return [Numbered(number, Run.model_validate_json(document)) for number, document in found]

    def half_erased(self, tenant_id: str | None, limit: int) -> list[str]:
        return self._connection.column(HALF, tenant_id=tenant_id, most=limit)

    def mark_erased(self, run_id: str, progress: int) -> None:
        if progress == DONE:
            self._connection.write(DONE_WITH, id=run_id)
        else:
            self._connection.write(MARK, id=run_id, progress=progress)

    def replace_events(self, events: Sequence[RunEvent]) -> None:
        rows = [{"run_id": one.run_id, "seq": one.seq, "document": one.model_dump_json()} for one in events]
        self._connection.write_all(REPLACE_EVENT, rows)

    def erase_writes(self, run_id: str) -> None:
        for number, text in self._connection.rows(WRITES, run_id=run_id):
            document = json.dumps(erased_write(json.loads(text)))
            self._connection.write(REPLACE_WRITE, number=number, document=document)

    def find_answers(self, tenant_id: str, containing: str, after: str, limit: int) -> list[tuple[str, str]]:
        escaped = "".join(f"!{sign}" if sign in "%_!" else sign for sign in containing)
        query = {"tenant_id": tenant_id, "after": after, "pattern": f"%{escaped}%", "most": limit}
        with self._connection.each(ANSWERS, **query) as rows:
            found, _ = page(rows, limit, lambda row: len(row[1]))
        return [(key, body) for key, body in found]

    def replace_answer(self, tenant_id: str, key: str, body: str) -> None:
        self._connection.write(REPLACE_ANSWER, tenant_id=tenant_id, key=key, body=body)

    def drop_answers(self, tenant_id: str | None, before: datetime, limit: int) -> int:
        found = self._connection.rows(OLD_ANSWERS, before=before.timestamp(), tenant_id=tenant_id, most=limit)
        self._connection.write_all(DROP_ANSWER, [{"tenant_id": tenant, "key": key} for tenant, key in found])
        return len(found)

    def drop_subject_spending(self, tenant_id: str, subject: str) -> None:
        first, last = on_day(subject, ""), on_day(subject, LAST_DAY)
        self._connection.write(DROP_SPENDING, tenant_id=tenant_id, first=first, last=last)
        self._connection.write(DROP_RESERVATIONS, tenant_id=tenant_id, subject_id=subject)

    def replace_audit(self, record: AuditRecord) -> None:
        row = audit_row(record)
        self._connection.write(REPLACE_AUDIT, **{name: row[name] for name in _AUDIT})
