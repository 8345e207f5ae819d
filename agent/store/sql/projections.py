"""Projections of all events, as SQL statements on one connection."""

from __future__ import annotations

import json

from agent.run.journal import Projection
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from agent.store.sql.tables import ALL_TENANTS

GET = Statement("SELECT projections.cursor, state FROM projections WHERE name = :name")
BEGINNING = Statement("SELECT name, projections.cursor, state FROM projections WHERE name LIKE :pattern ORDER BY name")
SAVE = Statement(
    """
    INSERT INTO projections (tenant_id, name, cursor, state) VALUES (:tenant_id, :name, :cursor, :state)
    ON CONFLICT (tenant_id, name) DO UPDATE SET cursor = excluded.cursor, state = excluded.state
    """
)


class SqlProjections:
    """The part of ``agent.store.backend.Transaction`` that stores projections."""

    _connection: Connection

    def projection(self, name: str) -> Projection | None:
        found = self._connection.row(GET, name=name)
        return Projection(found[0], json.loads(found[1])) if found else None

    def projections(self, prefix: str) -> dict[str, Projection]:
        """``prefix`` has no character that means something to LIKE."""
        found = self._connection.rows(BEGINNING, pattern=f"{prefix}%")
        return {name: Projection(cursor, json.loads(state)) for name, cursor, state in found}

    def save_projection(self, name: str, projection: Projection) -> None:
        state = json.dumps(projection.state)
        self._connection.write(SAVE, tenant_id=ALL_TENANTS, name=name, cursor=projection.cursor, state=state)
