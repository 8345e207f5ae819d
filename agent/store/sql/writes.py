"""A session's writes, as SQL statements on one connection."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text, update

from agent.run.journal import Written
from agent.store.sql import tables as t
from agent.store.sql.prepared import Prepared

_END = Prepared(
    update(t.writes)
    .where(t.writes.c.run_id == bindparam("of_run"), t.writes.c.call_id == bindparam("of_call"))
    .values(ok=bindparam("ok"), uncertain=bindparam("uncertain"), told=bindparam("told"))
)

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:session, 0))")


class SqlWrites:
    """The part of ``agent.store.backend.Transaction`` that notes what was changed."""

    _connection: Connection

    def add_write(self, tenant_id: str, session_id: str, root: str, written: Written) -> None:
        if self._connection.dialect.name == "postgresql":  # numbers of a session in the order of their commits
            self._connection.execute(_LOCK, {"session": f"{tenant_id}/{session_id}"})
        values: dict[str, Any] = {
            "tenant_id": tenant_id,
            "session_id": session_id,
            "run_id": written.run_id,
            "call_id": written.call_id,
            "args_sha256": written.args_sha256,
            "ok": written.ok,
            "uncertain": written.uncertain,
            "told": written.told,
        }
        document = {
            "tool": written.tool,
            "arguments": written.arguments,
            "callers": written.callers,
            "root": root,
            "unsure": written.unsure,
            "denied": written.denied,
        }
        values["document"] = json.dumps(document)
        self._connection.execute(insert(t.writes).values(values))

    def end_write(self, run_id: str, call_id: str, ok: bool, uncertain: bool, told: str) -> None:
        ended = {"of_run": run_id, "of_call": call_id, "ok": ok, "uncertain": uncertain, "told": told}
        _END.write(self._connection, [ended])

    def writes(self, tenant_id: str, session_id: str, root: str, args_sha256: str | None, limit: int) -> list[Written]:
        writes = t.writes.c
        query = select(t.writes).where(writes.tenant_id == tenant_id, writes.session_id == session_id)
        if args_sha256 is not None:
            query = query.where(writes.args_sha256 == args_sha256)
        found = self._connection.execute(query.order_by(writes.number.desc()).limit(limit))
        return [_written(row, root) for row in found]


def _written(row: Any, root: str) -> Written:
    document = json.loads(row.document)
    return Written(
        run_id=row.run_id,
        callers=tuple(document["callers"]),
        call_id=row.call_id,
        tool=document["tool"],
        arguments=document["arguments"],
        args_sha256=row.args_sha256,
        ok=row.ok,
        uncertain=row.uncertain,
        told=row.told,
        unsure=document.get("unsure", False),
        denied=document.get("denied", False),
        kin=document.get("root", (*document["callers"], row.run_id)[0]) == root,
    )
