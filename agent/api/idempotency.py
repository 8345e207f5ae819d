"""``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header): what is asked for twice is done once.

A key belongs to a tenant and stands for one request: its method's path and its payload. The answer is stored in the
transaction of its effect, so that there is never one without the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Header, Request, Response
from pydantic import BaseModel

from agent.run.journal import Idempotency
from flightloop.errors import IdempotencyInFlight

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="A repeated request with the same key does nothing and is answered as the first one was.",
    ),
]


@contextmanager
def once(request: Request, tenant_id: str, body: BaseModel, key: str | None) -> Iterator[Idempotency | None]:
    """What the request's effect is to be stored under; None without a key.

    Raises:
        IdempotencyInFlight: a request with the key is still being answered.
    """
    if key is None:
        yield None
        return
    in_flight: set[tuple[str, str]] = request.app.state.in_flight
    if (tenant_id, key) in in_flight:
        raise IdempotencyInFlight(
            "a request with this Idempotency-Key is still being answered; try again",
            param="Idempotency-Key",
            retry_after=1,
        )
    in_flight.add((tenant_id, key))
    try:
        yield Idempotency(key, _digest(request.url.path, body))
    finally:
        in_flight.discard((tenant_id, key))


def tell_replayed(response: Response) -> None:
    """Marks an answer as that of an earlier request."""
    response.headers["idempotent-replayed"] = "true"


def _digest(path: str, body: BaseModel) -> str:
    """The same for the same request, however its JSON was written."""
    plain: Any = [path, body.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
