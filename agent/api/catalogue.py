"""Read-only endpoints: agents, tools, policies, audit log, overview."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent.api.access import AnyViewer, Deps, Viewer
from agent.api.errors import documented
from agent.api.pages import After, Limit, page_of
from flightloop.overview import Overview
from flightloop.runs import AgentInfo, Page, PolicyInfo, ProjectInfo, ToolInfo
from flightloop.verdicts import AuditRecord

router = APIRouter(prefix="/v1", tags=["catalogue"])


def _name(known: AgentInfo | ToolInfo | PolicyInfo) -> str:
    return known.name


@router.get("/agents", responses=documented(404))
async def list_agents(deps: Deps, caller: AnyViewer, after: After = None, limit: Limit = 200) -> Page[AgentInfo]:
    return page_of(deps.catalogue.agents(), _name, after, limit)


@router.get("/tools", responses=documented(404))
async def list_tools(deps: Deps, caller: Viewer, after: After = None, limit: Limit = 200) -> Page[ToolInfo]:
    return page_of(deps.catalogue.tools(), _name, after, limit)


@router.get("/policies", responses=documented(404))
async def list_policies(deps: Deps, caller: Viewer, after: After = None, limit: Limit = 200) -> Page[PolicyInfo]:
    return page_of(deps.catalogue.policies(), _name, after, limit)


@router.get("/project", responses=documented())
async def project(deps: Deps, caller: Viewer) -> ProjectInfo:
    """State of the project's files; after an invalid change the last valid version stays in use."""
    return deps.catalogue.project()


@router.get("/audit", responses=documented(404))
async def list_audit(
    deps: Deps,
    caller: Viewer,
    run_id: Annotated[str | None, Query(max_length=128)] = None,
    after: Annotated[int, Query(ge=0, le=2**62, description="`next_after` of the previous page.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[AuditRecord]:
    """Audit records, oldest first, chained by hashes. A run has one record per verdict, a completion one per step."""
    page = await deps.journal.audit(caller.tenant_id, run_id=run_id, after=after, limit=limit)
    more = bool(page and await deps.journal.audit(caller.tenant_id, run_id=run_id, after=page[-1].seq, limit=1))
    return Page[AuditRecord](data=page, has_more=more, next_after=str(page[-1].seq) if more else None)


@router.get("/overview", responses=documented())
async def overview(deps: Deps, caller: Viewer) -> Overview:
    """Current system, model and business metrics, the tenant's runs by status, its approvals and interrupts."""
    return await deps.overview(caller.tenant_id)
