"""API keys in the journal's database. Only their digests are stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from agent.run.journal import Idempotency
from agent.store.backend import Backend, Transaction
from agent.store.rules import acts, idempotency_records
from flightloop.acts import Act, Actor, system
from flightloop.errors import Conflict, NotFound
from flightloop.keys import ApiKey
from flightloop.runs import Page

MOST_KEYS = 10_000
"""Maximum number of a tenant's keys, each with its own rate limit. At the limit, the oldest revoked one is removed."""


class StoreKeys:
    """Implements ``agent.api.auth.KeyStore``."""

    def __init__(self, backend: Backend, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    async def add(
        self,
        key: ApiKey,
        sha256: str,
        *,
        tenant_id: str | None = None,
        idempotency: Idempotency | None = None,
        actor: Actor | None = None,
    ) -> ApiKey:
        asking = tenant_id or key.tenant_id

        def work(tx: Transaction) -> ApiKey:
            first = idempotency_records.earlier(tx, asking, idempotency, ApiKey)
            if first is not None:
                return first
            if tx.count_keys(key.tenant_id) >= MOST_KEYS and not tx.drop_revoked_key(key.tenant_id):
                raise Conflict(f"a tenant can have {MOST_KEYS} keys: revoke one that is no longer used")
            tx.add_key(key, sha256)
            self._record(tx, key, Act.KEY_CREATED, actor or system(key.created_by))
            idempotency_records.keep(tx, asking, idempotency, key, self._clock())
            return key

        return await self._backend.write(work)

    async def by_digest(self, sha256: str) -> ApiKey | None:
        return await self._backend.read(lambda tx: tx.key_by_digest(sha256))

    async def page(self, tenant_id: str, after: str | None, limit: int) -> Page[ApiKey]:
        def work(tx: Transaction) -> tuple[list[ApiKey], bool]:
            if after is not None and tx.key(tenant_id, after) is None:
                raise NotFound(f"after: the list has no {after!r}; leave it out to start again", param="after")
            return tx.page_keys(tenant_id, after, limit)

        data, more = await self._backend.read(work)
        return Page(data=data, has_more=more, next_after=data[-1].id if more else None)

    async def revoke(self, tenant_id: str, key_id: str, actor: Actor | None = None) -> ApiKey:
        def work(tx: Transaction) -> ApiKey:
            found = tx.key(tenant_id, key_id)
            if found is None:
                raise NotFound(f"no key {key_id}")
            if found.revoked_at is None:
                found = found.model_copy(update={"revoked_at": self._clock()})
                tx.save_key(found)
                self._record(tx, found, Act.KEY_REVOKED, actor or system("keys"))
            return found

        return await self._backend.write(work)

    def _record(self, tx: Transaction, key: ApiKey, act: Act, actor: Actor) -> None:
        details = {"name": key.name, "role": key.role.value, "speaks_for": key.speaks_for.value}
        acts.add(tx, key.tenant_id, [acts.Entry(actor, act, key.id, details)], self._clock())
