"""Starts a run once per ``Idempotency-Key``."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request, Response
from pydantic import BaseModel

from agent.api.access import admit_subject
from agent.api.auth import Principal
from agent.api.deps import ApiDeps
from agent.api.idempotency import IdempotencyKey, once, tell_replayed
from flightloop.events import RunCreated
from flightloop.runs import Run
from flightloop.verdicts import Verdict

__all__ = ["IdempotencyKey", "started"]


async def started(
    request: Request,
    response: Response,
    deps: ApiDeps,
    caller: Principal,
    created: RunCreated,
    body: BaseModel,
    key: str | None,
    record: Sequence[Verdict] = (),
) -> Run:
    """Creates a run, or returns the run that an earlier request with the same key created.

    Args:
        body: the request's body; with the path, it identifies the request.
        record: verdicts to store in the audit log with the run.

    Raises:
        IdempotencyInFlight: a request with the key is still in progress.
        IdempotencyMismatch: the key was used for another request.
        Overloaded: the journal's disk is nearly full, or the subject's rate limit is reached.
    """
    deps.room.check()
    admit_subject(request, caller, created.subject)
    with once(request, created.tenant_id, body, key, created.subject, caller.subject) as idempotency:
        made = await deps.journal.create(created, idempotency, record, caller.actor)
    if made.replayed:
        tell_replayed(response)
    response.headers["location"] = f"/v1/runs/{made.run.id}"
    return made.run
