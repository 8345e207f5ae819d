"""Forks and what is copied for them, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from agent.store.backend import Fork
from agent.store.sql import tables as t
from agent.store.sql.prepared import Prepared

_ROOT = Prepared(select(t.forks.c.root_id).where(t.forks.c.run_id == bindparam("of_run")))
_ROOT_SESSION = Prepared(
    select(t.forks.c.root_session_id)
    .where(t.forks.c.tenant_id == bindparam("of_tenant"), t.forks.c.session_id == bindparam("of_session"))
    .limit(1)
)


class SqlForks:
    """The part of ``agent.store.backend.Transaction`` that runs are forked with."""

    _connection: Connection

    def root(self, run_id: str) -> str:
        found = _ROOT.rows(self._connection, {"of_run": run_id})
        return str(found[0][0]) if found else run_id

    def root_session(self, tenant_id: str, session_id: str) -> str:
        found = _ROOT_SESSION.rows(self._connection, {"of_tenant": tenant_id, "of_session": session_id})
        return str(found[0][0]) if found else session_id

    def fork(self, run_id: str) -> Fork | None:
        found = self._connection.execute(select(t.forks).where(t.forks.c.run_id == run_id)).mappings().one_or_none()
        return None if found is None else Fork(**found)

    def save_fork(self, fork: Fork) -> None:
        known = update(t.forks).where(t.forks.c.run_id == fork.run_id).values(copied_at=fork.copied_at)
        if not self._connection.execute(known).rowcount:
            self._connection.execute(insert(t.forks).values(vars(fork)))

    def drop_fork(self, run_id: str) -> None:
        self._connection.execute(delete(t.forks).where(t.forks.c.run_id == run_id))

    def unfinished_forks(self, before: datetime, limit: int) -> list[str]:
        query = select(t.forks.c.run_id).where(t.forks.c.copied_at < before.timestamp()).limit(limit)
        return list(self._connection.execute(query).scalars())

    def drop_events(self, run_id: str, limit: int) -> int:
        events = t.events.c
        some = select(events.position).where(events.run_id == run_id).order_by(events.seq.desc()).limit(limit)
        return self._connection.execute(delete(t.events).where(events.position.in_(some))).rowcount
