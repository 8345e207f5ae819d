"""Sub-runs, as SQL statements on one connection."""

from __future__ import annotations

from collections.abc import Iterable

from agent.run.state import ENDINGS, OPEN
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.runs import RunStatus


def _listed(statuses: Iterable[RunStatus]) -> str:
    return ", ".join(f"'{status.value}'" for status in sorted(statuses))


_GOES_ON = f"NOT runs.cancel_requested AND runs.status IN ({_listed(OPEN)})"
"""Condition of open runs that are not cancelled. There are few, and the index on the status finds them."""
STANDING = Statement("SELECT status, cancel_requested FROM runs WHERE id = :id")
UNCANCELLED_CHILDREN = Statement(
    f"SELECT id FROM runs WHERE parent_id = :parent_id AND {_GOES_ON} ORDER BY number LIMIT :most"
)
WITH_UNCANCELLED_CHILDREN = Statement(
    f"""
    SELECT DISTINCT runs.parent_id FROM runs JOIN runs AS above ON above.id = runs.parent_id
    WHERE {_GOES_ON}
      AND (above.cancel_requested OR above.status IN ({_listed(ENDINGS)}))
    LIMIT :most
    """
)


class SqlChildRuns:
    """The part of ``agent.store.backend.Transaction`` that finds sub-runs to cancel."""

    _connection: Connection

    def over(self, run_id: str) -> bool:
        found = self._connection.row(STANDING, id=run_id)
        return found is not None and (found[0] in ENDINGS or bool(found[1]))

    def uncancelled_children(self, run_id: str, limit: int) -> list[str]:
        return self._connection.column(UNCANCELLED_CHILDREN, parent_id=run_id, most=limit)

    def with_uncancelled_children(self, limit: int) -> list[str]:
        return self._connection.column(WITH_UNCANCELLED_CHILDREN, most=limit)
