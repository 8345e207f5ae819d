"""Starting a run, once for each ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Header, Request, Response
from pydantic import BaseModel

from agent.api.deps import ApiDeps
from agent.journal import Idempotency
from flightloop.errors import Conflict
from flightloop.events import RunCreated
from flightloop.runs import Run

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="Makes a repeated request answer with the first one's run."),
]


async def started(
    request: Request, response: Response, deps: ApiDeps, created: RunCreated, body: BaseModel, key: str | None
) -> Run:
    """The run, new or as it was answered the first time; ``body`` and path are what the key stands for.

    Raises:
        Conflict: a request with the key is still being answered.
        IdempotencyMismatch: the key was used for another request.
    """
    idempotency = Idempotency(key, _digest(request.url.path, body)) if key else None
    with _in_flight(request.app.state.in_flight, (created.tenant_id, key)):
        made = await deps.journal.create(created, idempotency)
    if made.replayed:
        response.headers["idempotent-replayed"] = "true"
    response.headers["location"] = f"/v1/runs/{made.run.id}"
    return made.run


def _digest(path: str, body: BaseModel) -> str:
    """The same for the same request, however its JSON was written."""
    plain: Any = [path, body.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@contextmanager
def _in_flight(keys: set[tuple[str, str]], key: tuple[str, str | None]) -> Iterator[None]:
    tenant_id, name = key
    if name is None:
        yield
        return
    if (tenant_id, name) in keys:
        raise Conflict("a request with this Idempotency-Key is still being answered", param="Idempotency-Key")
    keys.add((tenant_id, name))
    try:
        yield
    finally:
        keys.discard((tenant_id, name))
