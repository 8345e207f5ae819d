"""Starts a run once per ``Idempotency-Key``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi import Request, Response
from pydantic import BaseModel

from agent.api.access import admit_subject
from agent.api.auth import Principal
from agent.api.deps import ApiDeps
from agent.api.idempotency import once, tell_replayed
from agent.run.journal import Created
from flightloop.events import RunCreated
from flightloop.runs import Run
from flightloop.subject import Subject
from flightloop.verdicts import Verdict


async def started(
    request: Request,
    response: Response,
    deps: ApiDeps,
    caller: Principal,
    subject: Subject | None,
    make: Callable[[], Awaitable[RunCreated]],
    body: BaseModel,
    key: str | None,
    record: Sequence[Verdict] = (),
) -> Run:
    """Creates a run, or returns the run that an earlier request with the same key created.

    Args:
        subject: the end user on whose behalf the run acts.
        make: makes the run's first event, which may take the images in. It is called only if there is room, the
            subject is within the rate limit, and no earlier request had the key.
        body: the request's body; with the path, it identifies the request.
        record: verdicts to store in the audit log with the run.

    Raises:
        IdempotencyInFlight: a request with the key is still in progress.
        IdempotencyMismatch: the key was used for another request.
        Overloaded: the journal's disk is nearly full, or the subject's rate limit is reached.
    """
    deps.room.check()
    admit_subject(request, caller, subject)
    tenant_id = caller.tenant_id
    with once(request, tenant_id, body, key, subject, caller.subject) as idempotency:
        first = await deps.journal.replayed(tenant_id, idempotency) if idempotency else None
        if first is not None:
            made = Created(first, replayed=True)
        else:
            made = await deps.journal.create(await make(), idempotency, record, caller.actor)
    if made.replayed:
        tell_replayed(response)
    response.headers["location"] = f"/v1/runs/{made.run.id}"
    return made.run
