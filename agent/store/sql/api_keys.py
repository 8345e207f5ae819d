"""API keys, as SQL statements on one connection."""

from __future__ import annotations

from agent.store.sql.connection import Connection
from agent.store.sql.statement import Statement
from flightloop.keys import ApiKey, Right, Role

ADD = Statement.insert("keys", "id", "tenant_id", "sha256", "document")
SAVE = Statement("UPDATE keys SET document = :document WHERE id = :id")
BY_DIGEST = Statement("SELECT document FROM keys WHERE sha256 = :sha256")
GET = Statement("SELECT document FROM keys WHERE id = :id AND tenant_id = :tenant_id")
PAGE = Statement(
    """
    SELECT document FROM keys
    WHERE tenant_id = :tenant_id [AND number < (SELECT number FROM keys WHERE id = :after)]
    ORDER BY number DESC LIMIT :most
    """
)
DROP_REVOKED = Statement(
    """
    DELETE FROM keys WHERE number = (
        SELECT min(number) FROM keys WHERE tenant_id = :tenant_id AND document LIKE :revoked
    )
    """
)
REVOKED = '%"revoked_at":"%'
"""A name can't imitate this pattern: quotes within values are escaped."""
NOT_DECIDING = {
    "revoked": REVOKED,
    "bound": '%"speaks_for":"one"%',
    **{role.value: f'%"role":"{role}"%' for role in Role if not role.may(Right.DECIDE)},
}
"""Patterns of keys that may not decide approvals."""
DECIDERS = Statement(
    f"""
    SELECT document FROM keys
    WHERE tenant_id = :tenant_id AND {" AND ".join(f"document NOT LIKE :{name}" for name in NOT_DECIDING)}
    LIMIT :most
    """
)
COUNT = Statement("SELECT COUNT(*) FROM keys WHERE tenant_id = :tenant_id")


class SqlKeys:
    """The part of ``agent.store.backend.Transaction`` that stores API keys by their digests."""

    _connection: Connection

    def add_key(self, key: ApiKey, sha256: str) -> None:
        self._connection.write(ADD, id=key.id, tenant_id=key.tenant_id, sha256=sha256, document=key.model_dump_json())

    def save_key(self, key: ApiKey) -> None:
        self._connection.write(SAVE, id=key.id, document=key.model_dump_json())

    def key_by_digest(self, sha256: str) -> ApiKey | None:
        found = self._connection.row(BY_DIGEST, sha256=sha256)
        return ApiKey.model_validate_json(found[0]) if found else None

    def key(self, tenant_id: str, key_id: str) -> ApiKey | None:
        found = self._connection.row(GET, id=key_id, tenant_id=tenant_id)
        return ApiKey.model_validate_json(found[0]) if found else None

    def page_keys(self, tenant_id: str, after: str | None, limit: int) -> tuple[list[ApiKey], bool]:
        found = self._connection.column(PAGE, tenant_id=tenant_id, after=after, most=limit + 1)
        return [ApiKey.model_validate_json(document) for document in found[:limit]], len(found) > limit

    def count_keys(self, tenant_id: str) -> int:
        return int(self._connection.column(COUNT, tenant_id=tenant_id)[0])

    def deciders(self, tenant_id: str, limit: int) -> list[ApiKey]:
        found = self._connection.column(DECIDERS, tenant_id=tenant_id, most=limit, **NOT_DECIDING)
        return [ApiKey.model_validate_json(document) for document in found]

    def drop_revoked_key(self, tenant_id: str) -> bool:
        return self._connection.write(DROP_REVOKED, tenant_id=tenant_id, revoked=REVOKED) > 0
