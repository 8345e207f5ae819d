"""``/v1/erasures``: admins erase the content of a person's or a session's runs."""

from __future__ import annotations

from fastapi import APIRouter

from agent.api.access import Admin, Deps
from agent.api.bodies import BodyRoute
from agent.api.errors import documented
from agent.run.erasure import ErasureFilter
from flightloop.erasure import ErasureCreate, ErasureReport
from flightloop.errors import InternalError

router = APIRouter(prefix="/v1/erasures", tags=["erasures"], route_class=BodyRoute)


@router.post("", responses=documented(409, 413, 422))
async def erase(body: ErasureCreate, deps: Deps, caller: Admin) -> ErasureReport:
    """Erases texts, arguments, results and images of a subject's or a session's runs, for good.

    The runs stay as tombstones. A repeated request continues one that failed. Answers 409 while runs are open, unless
    `end_runs` is true.
    """
    if deps.eraser is None:
        raise InternalError("this process can't erase")
    wanted = ErasureFilter(caller.tenant_id, body.subject, body.session_id)
    if body.dry_run:
        return await deps.eraser.count(wanted)
    report = await deps.eraser.erase(wanted, caller.actor, end_runs=body.end_runs)
    if report.keys:
        deps.keyring.forget()
    return report
