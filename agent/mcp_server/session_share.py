"""Leaves other tenants room among the sessions of the MCP server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api.body_limit import SHARE, TENANT
from agent.mcp_server.refusals import refusal
from flightloop.errors import Overloaded

RETRY_S = 60.0


class SessionShare:
    """ASGI middleware that refuses a tenant's new sessions beyond its share (three quarters) with a 429.

    Args:
        owners: owners of the open sessions, by session id, as the SDK's session manager has them; ``subject`` is the
            tenant.
        most: maximum number of sessions of all tenants.
    """

    def __init__(self, app: ASGIApp, owners: Mapping[str, Mapping[str, Any]], most: int) -> None:
        self._app, self._owners, self._most = app, owners, int(most * SHARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _opens(Headers(scope=scope)):
            tenant = scope["state"][TENANT]
            if _held(self._owners.values(), tenant) >= self._most:
                told = f"{self._most} sessions of the tenant are open (the limit): end some, or send no handshake"
                await refusal(Overloaded(told, retry_after=RETRY_S))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _opens(headers: Headers) -> bool:
    """Whether a request may open a session: it is in none, and its protocol version has a handshake."""
    version = headers.get(MCP_PROTOCOL_VERSION_HEADER)
    return MCP_SESSION_ID_HEADER not in headers and (version is None or version in HANDSHAKE_PROTOCOL_VERSIONS)


def _held(owners: Collection[Mapping[str, Any]], tenant: str) -> int:
    return sum(owner["subject"] == tenant for owner in owners)
