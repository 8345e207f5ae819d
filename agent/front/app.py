"""The front's ASGI application: what it answers itself, and what it passes on."""

from __future__ import annotations

import re
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api import ApiDeps, create_app

BODY_BYTES = 64 * 1024
"""Of a request that the front answers: a reason and a name."""
_OWN = {
    "GET": re.compile(r"/(healthz|readyz)"),
    "HEAD": re.compile(r"/(healthz|readyz)"),
    "POST": re.compile(r"/v1/(interrupts|runs/[^/]+/(interrupt|cancel))"),
    "DELETE": re.compile(r"/v1/interrupts/[^/]+"),
}


def answered_here(method: str, path: str) -> bool:
    """Whether a request stops something or asks whether the platform lives."""
    pattern = _OWN.get(method)
    return pattern is not None and pattern.fullmatch(path) is not None


class Front:
    """
    Args:
        deps: for what is answered here; a limit on bodies of its own applies.
        others: takes the other requests.
    """

    def __init__(self, deps: ApiDeps, others: ASGIApp) -> None:
        own = replace(deps, max_body_bytes=min(deps.max_body_bytes, BODY_BYTES))
        self._own, self._others = create_app(own), others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._own(scope, receive, send)
        elif scope["type"] == "http" and not answered_here(scope["method"], scope["path"]):
            await self._others(scope, receive, send)
        else:
            await self._own(scope, receive, send)
