"""Forks, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime

from agent.store.backend import Fork
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement

_COLUMNS = "run_id, tenant_id, session_id, root_id, root_session_id, copied_at"
ROOT = Statement("SELECT root_id FROM forks WHERE run_id = :run_id")
ROOT_SESSION = Statement(
    "SELECT root_session_id FROM forks WHERE tenant_id = :tenant_id AND session_id = :session_id LIMIT 1"
)
GET = Statement(f"SELECT {_COLUMNS} FROM forks WHERE run_id = :run_id")
SAVE = Statement(
    f"""
    INSERT INTO forks ({_COLUMNS}) VALUES (:run_id, :tenant_id, :session_id, :root_id, :root_session_id, :copied_at)
    ON CONFLICT (run_id) DO UPDATE SET copied_at = excluded.copied_at
    """
)
DROP = Statement("DELETE FROM forks WHERE run_id = :run_id")
UNFINISHED = Statement("SELECT run_id FROM forks WHERE copied_at < :before LIMIT :most")


class SqlForks:
    """The part of ``agent.store.backend.Transaction`` that stores forks."""

    _connection: Connection

    def root(self, run_id: str) -> str:
        found = self._connection.row(ROOT, run_id=run_id)
        return str(found[0]) if found else run_id

    def root_session(self, tenant_id: str, session_id: str) -> str:
        found = self._connection.row(ROOT_SESSION, tenant_id=tenant_id, session_id=session_id)
        return str(found[0]) if found else session_id

    def fork(self, run_id: str) -> Fork | None:
        found = self._connection.row(GET, run_id=run_id)
        return Fork(*found) if found else None

    def save_fork(self, fork: Fork) -> None:
        self._connection.write(SAVE, **vars(fork))

    def drop_fork(self, run_id: str) -> None:
        self._connection.write(DROP, run_id=run_id)

    def unfinished_forks(self, before: datetime, limit: int) -> list[str]:
        return self._connection.column(UNFINISHED, before=before.timestamp(), most=limit)
