"""Runs that work for other runs, as SQL statements on one connection."""

from __future__ import annotations

from sqlalchemy import Connection, and_, bindparam, false, or_, select

from agent.run.state import ENDINGS, OPEN
from agent.store.sql import tables as t
from agent.store.sql.prepared import Prepared

_ABOVE = t.runs.alias("above")
_ENDED = sorted(status.value for status in ENDINGS)
_STANDING = Prepared(select(t.runs.c.status, t.runs.c.cancel_requested).where(t.runs.c.id == bindparam("of_run")))
_GOES_ON = and_(
    t.runs.c.cancel_requested == false(), or_(*(t.runs.c.status == status.value for status in sorted(OPEN)))
)
"""Open ones are few, and found by the index on the status."""
_UNTOLD = Prepared(
    select(t.runs.c.id)
    .where(t.runs.c.parent_id == bindparam("of_run"), _GOES_ON)
    .order_by(t.runs.c.number)
    .limit(bindparam("most"))
)
_WITH_UNTOLD = Prepared(
    select(t.runs.c.parent_id)
    .join(_ABOVE, _ABOVE.c.id == t.runs.c.parent_id)
    .where(_GOES_ON, or_(_ABOVE.c.cancel_requested != false(), *(_ABOVE.c.status == status for status in _ENDED)))
    .distinct()
    .limit(bindparam("most"))
)


class SqlFamilies:
    """The part of ``agent.store.backend.Transaction`` that families of runs are ended with."""

    _connection: Connection

    def over(self, run_id: str) -> bool:
        found = _STANDING.rows(self._connection, {"of_run": run_id})
        return bool(found) and (found[0][0] in _ENDED or bool(found[0][1]))

    def untold(self, run_id: str, limit: int) -> list[str]:
        return [child for (child,) in _UNTOLD.rows(self._connection, {"of_run": run_id, "most": limit})]

    def with_untold(self, limit: int) -> list[str]:
        return [run_id for (run_id,) in _WITH_UNTOLD.rows(self._connection, {"most": limit})]
