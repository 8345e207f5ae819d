"""``/v1/usage``: usage and budgets of a tenant, a session and a subject."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent.api.access import Deps, Viewer
from agent.api.errors import documented
from flightloop.runs import Budget
from flightloop.usage import UsageReport

SubjectId = Annotated[str | None, Query(min_length=1, max_length=200, description="Subject to report as well.")]
SessionId = Annotated[str | None, Query(min_length=1, max_length=128, description="Session to report as well.")]
router = APIRouter(prefix="/v1/usage", tags=["usage"])


@router.get("", responses=documented())
async def usage(deps: Deps, caller: Viewer, session_id: SessionId = None, subject: SubjectId = None) -> UsageReport:
    """Usage, reservations and budget of the caller's tenant in its current window, and of a session and a subject if
    they are given."""
    ledger, tenants, tenant_id = deps.journal.ledger, deps.tenants, caller.tenant_id
    tenant = await ledger.spending(tenant_id, tenants.window)
    report = UsageReport(tenant=tenant.model_copy(update={"budget": tenants.of(tenant_id)}))
    if session_id is not None:
        session = await ledger.spending(tenant_id, tenants.window, session_id)
        newest = (await deps.journal.runs(tenant_id, session_id=session_id, limit=1)).data
        budget = newest[0].session_budget if newest else Budget()
        report.session = session.model_copy(update={"budget": budget})
    if subject is not None:
        own = await ledger.spending(tenant_id, tenants.window, subject=subject)
        report.subject = own.model_copy(update={"budget": tenants.subject})
    return report
