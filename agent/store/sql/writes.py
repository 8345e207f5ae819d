"""Calls that change something, by session, as SQL statements on one connection."""

from __future__ import annotations

import json
from typing import Any

from agent.run.written import Written
from agent.store.backend import WriteFilter
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement

LOCK_SESSION = Statement("SELECT pg_advisory_xact_lock(hashtextextended(:session, 0))")
ADD = Statement.insert(
    "writes",
    "tenant_id",
    "session_id",
    "run_id",
    "call_id",
    "args_sha256",
    "ok",
    "uncertain",
    "told",
    "document",
    "tool",
)
END = Statement(
    """
    UPDATE writes SET ok = :ok, uncertain = :uncertain, told = :told
    WHERE run_id = :run_id AND call_id = :call_id
    """
)
OF_SESSION = Statement(
    """
    SELECT run_id, call_id, args_sha256, ok, uncertain, told, document FROM writes
    WHERE tenant_id = :tenant_id AND session_id = :session_id AND run_id <> :besides
        [AND args_sha256 = :args_sha256] [AND tool = :tool] [AND number < :before]
    ORDER BY number DESC LIMIT :most
    """
)
UNDER_WAY = Statement(
    """
    SELECT min(number) FROM writes WHERE run_id = :run_id AND ok IS NULL
        [AND args_sha256 = :args_sha256] [AND tool = :tool]
    """
)


class SqlWrites:
    """The part of ``agent.store.backend.Transaction`` that stores calls that change something."""

    _connection: Connection

    def add_write(self, tenant_id: str, session_id: str, root: str, written: Written) -> None:
        if self._connection.kind == "postgresql":  # numbers of a session are in the order of the commits
            self._connection.rows(LOCK_SESSION, session=f"{tenant_id}/{session_id}")
        document = {
            "tool": written.tool,
            "arguments": written.arguments,
            "callers": written.callers,
            "root": root,
            "unsure": written.unsure,
            "denied": written.denied,
        }
        self._connection.write(
            ADD,
            tenant_id=tenant_id,
            session_id=session_id,
            run_id=written.run_id,
            call_id=written.call_id,
            args_sha256=written.args_sha256,
            ok=written.ok,
            uncertain=written.uncertain,
            told=written.told,
            document=json.dumps(document),
            tool=written.tool,
        )

    def end_write(self, run_id: str, call_id: str, ok: bool, uncertain: bool, told: str) -> None:
        self._connection.write(END, run_id=run_id, call_id=call_id, ok=ok, uncertain=uncertain, told=told)

    def write_under_way(self, run_id: str, args_sha256: str | None, tool: str | None) -> int | None:
        found = self._connection.column(UNDER_WAY, run_id=run_id, args_sha256=args_sha256, tool=tool)
        number: int | None = found[0]
        return number

    def writes(self, tenant_id: str, session_id: str, root: str, wanted: WriteFilter, limit: int) -> list[Written]:
        rows = self._connection.rows(
            OF_SESSION,
            tenant_id=tenant_id,
            session_id=session_id,
            besides=wanted.besides,
            args_sha256=wanted.args_sha256,
            tool=wanted.tool,
            before=wanted.before,
            most=limit,
        )
        return [_written(row, root) for row in rows]


def _written(row: tuple[Any, ...], root: str) -> Written:
    run_id, call_id, args_sha256, ok, uncertain, told, text = row
    document = json.loads(text)
    return Written(
        run_id=run_id,
        callers=tuple(document["callers"]),
        call_id=call_id,
        tool=document["tool"],
        arguments=document["arguments"],
        args_sha256=args_sha256,
        ok=None if ok is None else bool(ok),
        uncertain=bool(uncertain),
        told=told,
        unsure=document.get("unsure", False),
        denied=document.get("denied", False),
        kin=document.get("root", (*document["callers"], run_id)[0]) == root,
    )
