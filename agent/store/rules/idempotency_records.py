"""Responses to requests with an idempotency key, read and stored in the transaction of the request's effect."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel

from agent.run.journal import Idempotency
from agent.store.backend import StoredResponse, Transaction
from flightloop.errors import IdempotencyMismatch

M = TypeVar("M", bound=BaseModel)


def earlier(tx: Transaction, tenant_id: str, idempotency: Idempotency | None, kind: type[M]) -> M | None:
    """The response to the key's first request, or None. Raises IdempotencyMismatch."""
    answer = None if idempotency is None else tx.answer(tenant_id, idempotency.key)
    if idempotency is None or answer is None:
        return None
    if answer.digest != idempotency.digest:
        raise IdempotencyMismatch("this Idempotency-Key was used for another request: use a new key")
    return kind.model_validate_json(answer.body)


def keep(tx: Transaction, tenant_id: str, idempotency: Idempotency | None, answer: BaseModel, now: datetime) -> None:
    if idempotency is not None:
        tx.add_answer(tenant_id, idempotency.key, StoredResponse(idempotency.digest, answer.model_dump_json()), now)


def forget(tx: Transaction, tenant_id: str, idempotency: Idempotency | None) -> None:
    """Deletes the stored response, so that the key can be used again."""
    if idempotency is not None:
        tx.drop_answer(tenant_id, idempotency.key)
