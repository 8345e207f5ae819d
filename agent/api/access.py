"""Access control: bearer keys with roles; probes from the same machine need no key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Response, Security
from fastapi.security import HTTPBearer

from agent.api.auth import Principal
from agent.api.completions.cancellation import any_of, gone
from agent.api.deps import ApiDeps
from agent.api.local_clients import has_foreign_name, is_direct, is_from_here
from agent.api.rates import Rates
from flightloop.errors import Forbidden, ModelUnavailable
from flightloop.keys import Right, roles_with
from flightloop.subject import Subject
from guardrails.turns import TENANT

RESTART_S = 5.0
"""Seconds after which a client may retry a request that a restart interrupted."""

BEARER = "The key in `.flightloop/key`, or `FLIGHTLOOP_API_KEY`; with OIDC also an identity token."
bearer = HTTPBearer(auto_error=False, description=BEARER)


def deps_of(request: Request) -> ApiDeps:
    found: ApiDeps = request.app.state.deps
    return found


Deps = Annotated[ApiDeps, Depends(deps_of)]


async def principal_of(request: Request, deps: Deps, _: Annotated[object, Security(bearer)] = None) -> Principal:
    """Authenticates a caller and counts the request. Raises Unauthorized, or Overloaded above the key's rate limit."""
    caller = await deps.keyring.principal(request.headers.get("authorization"))
    rates: Rates = request.app.state.rates
    rates.admit(caller)
    TENANT.set(caller.tenant_id)
    return caller


def having(needed: Right, *, bound: bool = False) -> Callable[[Principal], Principal]:
    """Returns a dependency that requires a right; it raises Forbidden.

    Args:
        bound: whether keys that are bound to a subject are admitted. Such a route must show them nothing of others.
    """

    def check(caller: Annotated[Principal, Depends(principal_of)]) -> Principal:
        if not caller.role.may(needed):
            raise Forbidden(f"this needs the role {roles_with(needed)}; {caller.called} has the role {caller.role}")
        if caller.bound and not bound:
            raise Forbidden(
                f"the key {caller.name} is bound to a subject: it only starts, reads and cancels their runs"
            )
        return caller

    return check


Viewer = Annotated[Principal, Depends(having(Right.READ))]
AnyViewer = Annotated[Principal, Depends(having(Right.READ, bound=True))]
"""Also a key that is bound to a subject."""
Approver = Annotated[Principal, Depends(having(Right.DECIDE))]
Operator = Annotated[Principal, Depends(having(Right.OPERATE))]
AnyOperator = Annotated[Principal, Depends(having(Right.OPERATE, bound=True))]
Admin = Annotated[Principal, Depends(having(Right.ADMINISTER))]


def admit_subject(request: Request, caller: Principal, subject: Subject | None) -> None:
    """Counts work that begins on behalf of a subject. Raises Overloaded above the subject's rate limit."""
    rates: Rates = request.app.state.rates
    rates.admit_subject(caller.tenant_id, subject)


async def stream_over(request: Request, deps: ApiDeps) -> None:
    """Returns when an open stream must end: the server is stopping, or the caller's key was revoked."""
    await any_of(deps.closing.wait(), deps.keyring.revoked(request.headers.get("authorization")))


async def caller_gone(request: Request, deps: ApiDeps) -> None:
    """Returns when the response is no longer needed: the client has disconnected, its key was revoked, or the server is
    stopping."""
    await any_of(gone(request.receive), deps.closing.wait(), deps.keyring.revoked(request.headers.get("authorization")))


async def unanswered(request: Request, deps: ApiDeps) -> Response:
    """Response after ``caller_gone``: status 499 if the client has disconnected.

    Raises:
        ModelUnavailable: the server is stopping.
        Unauthorized: the key was revoked.
    """
    if deps.closing.is_set():
        raise ModelUnavailable("this server is stopping; try again", retry_after=RESTART_S)
    await deps.keyring.principal(request.headers.get("authorization"))
    return Response(status_code=499)  # the client has disconnected


async def probe(request: Request, deps: Deps) -> None:
    """Admits requests of local programs without a key. All others need a valid key; raises Unauthorized."""
    if not is_direct(request):
        caller = await deps.keyring.principal(request.headers.get("authorization"))
        rates: Rates = request.app.state.rates
        rates.admit(caller)
        if caller.bound:
            raise Forbidden(f"the key {caller.name} is bound to a subject: it has access to their runs only")


async def reader(request: Request, deps: Deps) -> None:
    """Checks access to content that is the same on every deployment: only requests that may result from DNS rebinding
    need a key. Raises Unauthorized."""
    if is_from_here(request) and has_foreign_name(request):
        await deps.keyring.principal(request.headers.get("authorization"))
