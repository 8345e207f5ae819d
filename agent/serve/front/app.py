"""ASGI application of the front: requests that it handles itself, and those that it forwards."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api import ApiDeps, create_app
from agent.api.body_limit import SHARE, TENANT, TOGETHER
from agent.api.errors import answer
from agent.api.middleware import RequestEnvelope
from agent.api.screening import screen
from agent.serve.open_connections import most_passed_on
from flightloop.errors import FlightloopError, Overloaded

BODY_BYTES = 64 * 1024
"""Maximum body size in bytes of a request that the front handles; such bodies contain only a reason and a name."""
_OWN = {
    "GET": re.compile(r"/(healthz|readyz)"),
    "HEAD": re.compile(r"/(healthz|readyz)"),
    "POST": re.compile(r"/v1/(interrupts|runs/[^/]+/(interrupt|cancel))"),
    "DELETE": re.compile(r"/v1/interrupts/[^/]+"),
}


def answered_here(method: str, path: str) -> bool:
    """Whether the front handles a request itself: stops and probes."""
    pattern = _OWN.get(method)
    return pattern is not None and pattern.fullmatch(path) is not None


class Front:
    """ASGI application that handles stops and probes, and passes other requests on.

    Args:
        deps: dependencies for the requests handled here, whose bodies are limited to ``BODY_BYTES``.
        others: handles all other requests, after ``screen``.
        most: maximum number of concurrent requests to ``others``; None: see ``most_passed_on``. One tenant gets at most
            three quarters of them, because it may hold streams open forever.
        together: maximum bytes of responses being sent to clients; at most three quarters for one tenant.
    """

    def __init__(self, deps: ApiDeps, others: ASGIApp, most: int | None = None, together: int = TOGETHER) -> None:
        self._deps = replace(deps, max_body_bytes=min(deps.max_body_bytes, BODY_BYTES))
        self._own, self._others = create_app(self._deps), others
        self._most = most or most_passed_on()
        self._passed_on, self._held = Counter[str | None](), Counter[str | None]()  # by tenant
        self._together = together

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not answered_here(scope["method"], scope["path"]):
            await self._pass_on(scope, receive, send)
        else:
            await self._own(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(self._passed_on.total(), self._most, "")
            caller = await screen(scope, self._deps.keyring)
            tenant = caller.tenant_id if caller else None
            self._check(self._passed_on.total(), self._most, "")  # others may have come while the key was looked up
            self._check(self._passed_on[tenant], math.ceil(self._most * SHARE), " of one tenant")
        except FlightloopError as error:
            await RequestEnvelope(answer(error), self._deps.metrics)(scope, receive, send)
            return
        self._passed_on[tenant] += 1
        scope.setdefault("state", {})[TENANT] = tenant
        held, refused = 0, False

        async def counted(message: Message) -> None:
            """Forwards a response, unless too many bytes already wait for clients that don't read."""
            nonlocal held, refused
            if message["type"] == "http.response.start":
                length = int(Headers(raw=message["headers"]).get("content-length", 0))
                room = min(self._together - self._held.total(), self._together * SHARE - self._held[tenant])
                if length > room and self._held[tenant]:
                    refused = True
                    error = Overloaded("too many responses have not been read yet; read them, then try again")
                    await RequestEnvelope(answer(error), self._deps.metrics)(scope, receive, send)
                    return
                held = length
                self._held[tenant] += held
            if not refused:
                await send(message)

        try:
            await self._others(scope, receive, counted)
        finally:
            self._passed_on[tenant] -= 1
            self._held[tenant] -= held
            self._passed_on += Counter()  # drops tenants with zero
            self._held += Counter()

    def _check(self, passed_on: int, most: int, whose: str) -> None:
        if passed_on >= most:
            raise Overloaded(f"{most} requests{whose} are in progress, which is the limit; try again")
