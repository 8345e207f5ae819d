"""``/v1/whoami``: the caller's own key."""

from __future__ import annotations

from fastapi import APIRouter

from agent.api.access import AnyViewer
from agent.api.errors import documented
from flightloop.keys import Caller

router = APIRouter(prefix="/v1/whoami", tags=["keys"])


@router.get("", responses=documented())
async def whoami(caller: AnyViewer) -> Caller:
    """Name, role, tenant and subject of the caller's key, never the key itself."""
    return Caller(
        key_id=caller.key,
        name=caller.name,
        role=caller.role,
        tenant_id=caller.tenant_id,
        speaks_for=caller.speaks_for,
        subject=caller.subject,
    )
