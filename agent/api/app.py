"""Creates the HTTP API as an ASGI application."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from agent.api import approvals, catalogue, erasures, errors, events, keys, predictions, probes, runs, usage, whoami
from agent.api.body_limit import BodyLimit
from agent.api.completions import chat, responses
from agent.api.completions.models import KnownModels
from agent.api.deps import ApiDeps
from agent.api.middleware import RequestEnvelope
from agent.api.query_parameters import only_known
from agent.api.rates import Rates
from agent.api.screening import Screening
from flightloop.version import VERSION

DESCRIPTION = (
    "Mission control for tool-using agents: runs, approvals, the emergency stop, and a guarded OpenAI-compatible"
    " endpoint. Every request needs `Authorization: Bearer KEY`; every answer carries `x-request-id`."
)


def create_app(deps: ApiDeps) -> FastAPI:
    """Creates an application over ``deps``; applications share no state."""
    app = FastAPI(
        title="flightloop",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # served by probes.py with access control
    )
    app.state.deps = deps
    app.state.models = KnownModels(deps.model)
    app.state.in_flight = set()
    app.state.rates = Rates(deps.requests_per_minute, deps.subject_requests_per_minute)
    errors.install(app)
    app.state.routers = [
        module.router
        for module in (
            chat,
            responses,
            runs,
            predictions,
            events,
            approvals,
            keys,
            erasures,
            catalogue,
            usage,
            whoami,
            probes,
        )
    ]
    for router in app.state.routers:
        app.include_router(router, dependencies=[Depends(only_known)])
    app.add_middleware(BodyLimit, limit=deps.max_body_bytes)
    app.add_middleware(Screening, keyring=deps.keyring)
    app.add_middleware(RequestEnvelope, metrics=deps.metrics)  # added last: outermost
    return app
