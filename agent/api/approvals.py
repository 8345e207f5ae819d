"""Approvals and interrupts: decisions of operators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from agent.api.access import Deps, Operator, Viewer
from agent.api.bodies import BodyRoute
from agent.api.deps import ApiDeps
from agent.api.errors import documented
from agent.api.idempotency import IdempotencyKey, once, tell_replayed
from agent.api.pages import After, Limit, page_of
from agent.run.journal import new_id
from flightloop.errors import Forbidden, InvalidRequest, NotFound
from flightloop.runs import REASON_CHARS, Approval, ApprovalDecision, Interrupt, InterruptCreate, Page
from guardrails.interrupt import ANY_TENANT
from observability import catalog

router = APIRouter(prefix="/v1", tags=["operators"], route_class=BodyRoute)
Id = Annotated[str, Path(max_length=128)]


@router.get("/approvals", responses=documented(404))
async def list_approvals(
    deps: Deps,
    caller: Viewer,
    status: Literal["pending", "approved", "denied", "expired"] | None = None,
    run_id: Annotated[str | None, Query(description="Only approvals of this run.", max_length=128)] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[Approval]:
    """Lists approvals, newest first."""
    return await deps.journal.approvals(caller.tenant_id, status=status, run_id=run_id, after=after, limit=limit)


@router.post("/approvals/{approval_id}", responses=documented(404, 409))
async def decide_approval(approval_id: Id, body: ApprovalDecision, deps: Deps, caller: Operator) -> Approval:
    """Approves or denies a call; its run then continues automatically."""
    return await deps.journal.decide(
        caller.tenant_id, approval_id, body.decision, caller.name, body.reason, caller.actor
    )


@router.get("/interrupts", responses=documented(404))
async def list_interrupts(
    deps: Deps,
    caller: Viewer,
    active: Annotated[bool, Query(description="Only interrupts that are not cleared.")] = True,
    after: After = None,
    limit: Limit = 200,
) -> Page[Interrupt]:
    """Lists interrupts, newest first."""
    found = await deps.journal.interrupts(caller.tenant_id, active=active and after is None)
    if active:  # the last interrupt of the previous page may be cleared by now, but still marks the position
        found = [item for item in found if item.cleared_at is None or item.id == after]
    return page_of(found, lambda item: item.id, after, limit)


@router.post("/interrupts", status_code=201, responses=documented(409, 413, 422, 503))
async def raise_interrupt(
    body: InterruptCreate,
    request: Request,
    response: Response,
    deps: Deps,
    caller: Operator,
    idempotency_key: IdempotencyKey = None,
) -> Interrupt:
    """Emergency stop: ends running work at the next token and refuses new work until it is cleared.

    With scope `agent`, the target is an agent's name, or a name that only completions send (`x-flightloop-agent`).
    Scope `tenant` needs the deployment's own key; its target is a tenant, or `*` for all.
    """
    if body.scope == "all" and body.target is not None:
        raise InvalidRequest("target: scope 'all' takes no target", param="target")
    if body.scope != "all" and not body.target:
        raise InvalidRequest(f"target: scope '{body.scope}' needs a target", param="target")
    fresh, whose, scope, target = new_id("int"), caller.tenant_id, body.scope, body.target
    if scope == "tenant":
        if not caller.deployment:
            raise Forbidden("scope 'tenant' needs the deployment's own key; scope 'all' stops your tenant")
        whose = ANY_TENANT
        if target == ANY_TENANT:
            scope, target = "all", None
    with once(request, whose, body, idempotency_key) as idempotency:
        raised = await deps.journal.raise_interrupt(
            whose,
            scope,
            target,
            body.reason,
            caller.name,
            interrupt_id=fresh,
            idempotency=idempotency,
            actor=caller.actor,
        )
    if raised.id != fresh:
        tell_replayed(response)
    else:
        deps.metrics.inc(catalog.GUARDRAIL_INTERRUPTS, scope=body.scope)
    return raised


@router.delete("/interrupts/{interrupt_id}", responses=documented(404))
async def clear_interrupt(
    interrupt_id: Id,
    deps: Deps,
    caller: Operator,
    reason: Annotated[str, Query(description="Kept with the interrupt.", max_length=REASON_CHARS)] = "",
) -> Interrupt:
    """Clears an interrupt, so that new work is accepted. Stopped runs stay stopped until they are resumed.

    Interrupts of the tenant `*` need the deployment's own key.
    """
    try:
        return await deps.journal.clear_interrupt(caller.tenant_id, interrupt_id, caller.actor, reason)
    except NotFound:
        if caller.deployment:
            return await deps.journal.clear_interrupt(ANY_TENANT, interrupt_id, caller.actor, reason)
        if not await _is_listed(deps, caller.tenant_id, interrupt_id):
            raise
    raise Forbidden(f"interrupt {interrupt_id} is the deployment's: only the deployment's own key clears it")


async def _is_listed(deps: ApiDeps, tenant_id: str, interrupt_id: str) -> bool:
    return any(one.id == interrupt_id for one in await deps.journal.interrupts(tenant_id, active=False))
