"""``/healthz``, ``/readyz``, ``/metrics`` and ``/openapi.json``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from agent.api.access import Deps, probe, reader
from agent.api.errors import ErrorDocument, documented
from flightloop.errors import FlightloopError

OPENMETRICS = "application/openmetrics-text"
router = APIRouter(tags=["probes"])


class Health(BaseModel):
    status: str = "ok"


class Ready(Health):
    project: str | None = None
    """Problem with the project's files, if any; the last valid version stays in use."""


class NotReady(FlightloopError):
    code = "not_ready"
    status = 503


@router.get("/healthz")
async def healthz() -> Health:
    """Liveness: succeeds while the process runs. Needs no key, because it reveals nothing else."""
    return Health()


@router.get("/openapi.json", dependencies=[Depends(reader)], include_in_schema=False)
async def openapi(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get("/readyz", dependencies=[Depends(probe)], responses=documented(503), response_model_exclude_none=True)
async def readyz(deps: Deps) -> Ready:
    """Readiness: succeeds if journal and model respond and the journal's disk has enough space."""
    found = await deps.ready()
    if found.missing:
        raise NotReady("; ".join(found.missing))
    return Ready(project=found.project)


@router.get(
    "/metrics",
    dependencies=[Depends(probe)],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}, 401: {"model": ErrorDocument}},
)
async def metrics(request: Request, deps: Deps) -> Response:
    """Metrics of all processes, as Prometheus text or OpenMetrics."""
    # One of two formats: callers that ask for the same one share a read.
    wanted = OPENMETRICS if OPENMETRICS in request.headers.get("accept", "") else ""
    body, content_type = await deps.expose(wanted)
    return Response(body, headers={"content-type": content_type})
