"""``/v1/keys``: admins create, list and revoke API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request

from agent.api.access import Admin, Deps
from agent.api.auth import digest, new_key
from agent.api.bodies import BodyRoute
from agent.api.errors import documented
from agent.api.idempotency import IdempotencyKey, once
from agent.api.pages import After, Limit
from agent.run.journal import new_id
from flightloop.errors import Conflict, Forbidden
from flightloop.keys import ApiKey, ApiKeyCreate, NewApiKey
from flightloop.runs import Page

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=BodyRoute)


@router.post("", status_code=201, responses=documented(409, 413, 422, 503))
async def create_key(
    body: ApiKeyCreate, request: Request, deps: Deps, caller: Admin, idempotency_key: IdempotencyKey = None
) -> NewApiKey:
    """Creates a key. It is shown in this response only; a repeated `Idempotency-Key` does not show it again."""
    deps.room.check()
    tenant_id = body.tenant_id or caller.tenant_id
    if tenant_id != caller.tenant_id and not caller.deployment:
        raise Forbidden("only the deployment's own key may create keys for another tenant", param="tenant_id")
    secret = new_key()
    made = ApiKey(
        id=new_id("key"),
        tenant_id=tenant_id,
        name=body.name,
        role=body.role,
        speaks_for=body.speaks,
        subject=body.subject,
        created_at=datetime.now(UTC),
        created_by=caller.name,
    )
    with once(request, caller.tenant_id, body, idempotency_key, body.subject) as idempotency:
        kept = await deps.keys.add(
            made,
            digest(secret.encode()),
            tenant_id=caller.tenant_id,
            idempotency=idempotency,
            actor=caller.actor,
        )
    if kept.id != made.id:
        raise Conflict(
            f"the first request with this Idempotency-Key created the key {kept.id}; only the first response contained"
            " it. If that response was lost, revoke the key and create another",
            param="Idempotency-Key",
        )
    return NewApiKey(**made.model_dump(), key=secret)


@router.get("", responses=documented(404))
async def list_keys(deps: Deps, caller: Admin, after: After = None, limit: Limit = 200) -> Page[ApiKey]:
    """Lists all keys of the tenant, newest first, revoked ones included."""
    return await deps.keys.page(caller.tenant_id, after, limit)


@router.delete("/{key_id}", responses=documented(404))
async def revoke_key(key_id: Annotated[str, Path(max_length=128)], deps: Deps, caller: Admin) -> ApiKey:
    """Revokes a key within two seconds and ends its open streams."""
    revoked = await deps.keys.revoke(caller.tenant_id, key_id, caller.actor)
    deps.keyring.forget()
    return revoked
