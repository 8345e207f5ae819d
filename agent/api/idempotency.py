"""``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header): repeated requests take effect once.

A key belongs to a tenant and identifies one request: path, payload and subject. Those of bound API keys belong to their
subject. The response is stored in the same transaction as the effect, so neither exists without the other.
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
from flightloop.subject import Subject

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="A repeated request with the same key has no effect and gets the first response.",
    ),
]


@contextmanager
def once(
    request: Request,
    tenant_id: str,
    body: BaseModel,
    key: str | None,
    subject: Subject | None = None,
    bound_to: Subject | None = None,
) -> Iterator[Idempotency | None]:
    """Yields the idempotency record to store with the request's effect; None without a key.

    Args:
        subject: the subject for whom the request acts, which may come from the caller's key instead of the body.
        bound_to: the subject of the caller's bound key, to whose holders the idempotency key belongs.

    Raises:
        IdempotencyInFlight: a request with the key is still in progress.
    """
    if key is None:
        yield None
        return
    if bound_to is not None:
        key = _of_subject(bound_to, key)
    in_flight: set[tuple[str, str]] = request.app.state.in_flight
    if (tenant_id, key) in in_flight:
        raise IdempotencyInFlight(
            "a request with this Idempotency-Key is still in progress; try again",
            param="Idempotency-Key",
            retry_after=1,
        )
    in_flight.add((tenant_id, key))
    try:
        yield Idempotency(key, _digest(request.url.path, body, subject))
    finally:
        in_flight.discard((tenant_id, key))


def _of_subject(subject: Subject, key: str) -> str:
    """The key as stored for a subject. No header has this form, since headers are ASCII."""
    return "§" + hashlib.sha256(json.dumps([subject.id, key]).encode()).hexdigest()


def tell_replayed(response: Response) -> None:
    """Marks a response as a replay of an earlier one."""
    response.headers["idempotent-replayed"] = "true"


def _digest(path: str, body: BaseModel, subject: Subject | None) -> str:
    """Digest of a request, independent of its JSON formatting. That of an anonymous request has no subject, as in
    records of versions before subjects."""
    plain: Any = [path, body.model_dump(mode="json", exclude={"subject"})]
    if subject is not None:
        plain.append(subject.model_dump(mode="json"))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
