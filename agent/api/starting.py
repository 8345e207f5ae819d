"""Starting a run, once for each ``Idempotency-Key``."""

from __future__ import annotations

from fastapi import Request, Response
from pydantic import BaseModel

from agent.api.deps import ApiDeps
from agent.api.idempotency import IdempotencyKey, once, tell_replayed
from flightloop.events import RunCreated
from flightloop.runs import Run

__all__ = ["IdempotencyKey", "started"]


async def started(
    request: Request, response: Response, deps: ApiDeps, created: RunCreated, body: BaseModel, key: str | None
) -> Run:
    """The run, new or as it was answered the first time; ``body`` and path are what the key stands for.

    Raises:
        IdempotencyInFlight: a request with the key is still being answered.
        IdempotencyMismatch: the key was used for another request.
    """
    with once(request, created.tenant_id, body, key) as idempotency:
        made = await deps.journal.create(created, idempotency)
    if made.replayed:
        tell_replayed(response)
    response.headers["location"] = f"/v1/runs/{made.run.id}"
    return made.run
