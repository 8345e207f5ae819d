"""Read-only endpoints: agents, tools, policies, audit log, overview."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from agent.api.access import AnyViewer, Deps, Viewer
from agent.api.errors import documented
from agent.api.pages import After, Limit, page_of
from flightloop.acts import Act
from flightloop.audit_check import AuditCheck
from flightloop.errors import NotFound
from flightloop.overview import Overview
from flightloop.runs import AgentInfo, Page, PolicyInfo, PolicyText, ProjectInfo, ToolInfo
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


@router.get("/policies/{sha256}", responses=documented(404, 409))
async def get_policy(deps: Deps, caller: Viewer, sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> PolicyText:
    """The policy with a verdict's `policy_sha256`, also if the project has another one today."""
    text = await deps.journal.acts.policy(sha256)
    if text is not None:
        return PolicyText.of(sha256, json.loads(text))
    for policy in deps.catalogue.policies():
        if policy.sha256 == sha256:
            return PolicyText.of(sha256, policy.document)
    raise NotFound(f"no policy with the hash {sha256} has decided anything", param="sha256")


@router.get("/audit", responses=documented(404))
async def list_audit(
    deps: Deps,
    caller: Viewer,
    run_id: Annotated[str | None, Query(max_length=128)] = None,
    act: Annotated[Act | None, Query(description="Only acts of this kind.")] = None,
    actor: Annotated[str | None, Query(description="Only acts of this actor: an id or a name.", max_length=128)] = None,
    after: Annotated[int, Query(ge=0, le=2**62, description="`next_after` of the previous page.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Page[AuditRecord]:
    """Audit records, oldest first, chained by hashes: verdicts, and what people and the platform did.

    A run has one record per verdict, a completion one per step.
    """
    wanted: dict[str, Any] = {"run_id": run_id, "act": act, "actor": actor}
    page = await deps.journal.audit(caller.tenant_id, **wanted, after=after, limit=limit)
    more = bool(page and await deps.journal.audit(caller.tenant_id, **wanted, after=page[-1].seq, limit=1))
    return Page[AuditRecord](data=page, has_more=more, next_after=str(page[-1].seq) if more else None)


@router.get("/audit/verification", responses=documented())
async def verify_audit(
    deps: Deps,
    caller: Viewer,
    after: Annotated[int, Query(ge=0, le=2**62, description="`next_after` of the previous part.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> AuditCheck:
    """Recomputes the digests and seals of a part of the audit log, and compares it with the checkpoints."""
    return await deps.journal.acts.check(caller.tenant_id, deps.checkpoints, after, limit)


@router.get("/overview", responses=documented())
async def overview(deps: Deps, caller: Viewer) -> Overview:
    """Current system, model and business metrics, the tenant's runs by status, its approvals and interrupts."""
    return await deps.overview(caller.tenant_id)
