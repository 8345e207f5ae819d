"""Responses by idempotency key, as SQL statements on one connection."""

from __future__ import annotations

from datetime import datetime

from agent.store.backend import StoredResponse
from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement

GET = Statement("SELECT digest, body FROM answers WHERE tenant_id = :tenant_id AND key = :key")
ADD = Statement.insert("answers", "tenant_id", "key", "digest", "body", "created_at")
DROP = Statement("DELETE FROM answers WHERE tenant_id = :tenant_id AND key = :key")


class SqlAnswers:
    """The part of ``agent.store.backend.Transaction`` that stores responses by idempotency key."""

    _connection: Connection

    def answer(self, tenant_id: str, key: str) -> StoredResponse | None:
        found = self._connection.row(GET, tenant_id=tenant_id, key=key)
        return StoredResponse(*found) if found else None

    def add_answer(self, tenant_id: str, key: str, answer: StoredResponse, at: datetime) -> None:
        self._connection.write(
            ADD, tenant_id=tenant_id, key=key, digest=answer.digest, body=answer.body, created_at=at.timestamp()
        )

    def drop_answer(self, tenant_id: str, key: str) -> None:
        self._connection.write(DROP, tenant_id=tenant_id, key=key)
