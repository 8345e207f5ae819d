"""Refuses query parameters that a route doesn't have: an ignored filter would look as if it had matched everything."""

from __future__ import annotations

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from flightloop.errors import InvalidRequest
from flightloop.nearest import did_you_mean

OPENAI = ("/v1/chat/completions", "/v1/responses", "/v1/models")
"""Paths that clients of other servers call too, with parameters of those servers."""


def only_known(request: Request) -> None:
    """Raises InvalidRequest if the request has a query parameter that its route doesn't know."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    if route.path.startswith(OPENAI):
        return
    known = sorted(_known(route.dependant))
    for name in request.query_params:
        if name not in known:
            hint = did_you_mean(name, known, most=1) or f"known: {', '.join(known) or 'none'}"
            raise InvalidRequest(f"{name}: no such query parameter; {hint}", param=name)


def _known(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_known, dependant.dependencies))
