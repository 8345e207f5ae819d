"""Texts of policies, as SQL statements on one connection."""

from __future__ import annotations

from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from agent.store.sql.tables import ALL_TENANTS

GET = Statement("SELECT document FROM policies WHERE sha256 = :sha256")
ADD = Statement.insert("policies", "sha256", "tenant_id", "document")
ALL = Statement("SELECT sha256, document FROM policies ORDER BY sha256")


class SqlPolicies:
    """The part of ``agent.store.backend.Transaction`` that stores the texts of policies."""

    _connection: Connection

    def policy_text(self, sha256: str) -> str | None:
        found = self._connection.column(GET, sha256=sha256)
        return str(found[0]) if found else None

    def add_policy(self, sha256: str, text: str) -> None:
        self._connection.write(ADD, sha256=sha256, tenant_id=ALL_TENANTS, document=text)

    def policies(self) -> dict[str, str]:
        return {sha256: str(document) for sha256, document in self._connection.rows(ALL)}
