"""The MCP server over streamable HTTP. It has no key of its own: a request reaches the API under the key it carries."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api.body_limit import TENANT, BodyLimit
from agent.api.errors import answer
from agent.api.screening import check_once
from flightloop import AsyncFlightloop
from flightloop.call import Call, parsed_by
from flightloop.errors import ConfigError, ConnectionFailed, FlightloopError, Unauthorized
from flightloop.keys import Caller
from flightloop.settings import ClientSettings
from flightloop.transport import AsyncTransport

PATH = "/mcp"
MOST_SESSIONS = 1000
"""Of clients of the protocol's handshake versions; one ends half an hour after its last request."""


class ApiUnavailable(FlightloopError):
    code = "not_ready"
    status = 503
    retryable = True


@asynccontextmanager
async def application(
    server: MCPServer[Any], url: str, hosts: Sequence[str], max_body_bytes: int
) -> AsyncIterator[ASGIApp]:
    """
    Args:
        server: made with the clients of ``under_key``.
        url: of the API, which knows the keys.
        hosts: what ``Host`` may be (``allowed_hosts``), against DNS rebinding; an ``Origin`` has to be one of them.
        max_body_bytes: of one request.
    """
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    security = TransportSecuritySettings(allowed_hosts=list(hosts), allowed_origins=origins)
    transport = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=max_body_bytes,
        max_sessions=MOST_SESSIONS,
        transport_security=security,
    )
    api = AsyncTransport(ClientSettings(url, api_key="of each request", retries=0))
    try:
        # The SDK binds a session, and what a client hands back with its user's answer, to the key that it began with.
        yield KeyRequired(BodyLimit(AuthContextMiddleware(transport), max_body_bytes), api)
    finally:
        await api.close()


def under_key(url: str, request: Request | None) -> AsyncFlightloop:
    """The API's client under the key that ``KeyRequired`` has accepted."""
    assert request is not None
    user: AuthenticatedUser = request.user
    return AsyncFlightloop(url, user.access_token.token)


def allowed_hosts(host: str, port: int, more: Sequence[str] = ()) -> list[str]:
    """What ``Host`` may be where a server listens: its address, and ``more`` (each HOST or HOST:PORT).

    Raises:
        ConfigError: it listens on every address, or under a name, and nobody says what clients call it.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is not None and address.is_loopback:
        return [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")] + list(more)
    if address is not None and not address.is_unspecified:
        return [f"[{host}]:{port}" if address.version == 6 else f"{host}:{port}", *more]
    if not more:
        raise ConfigError(f"--host {host}: say under which name clients reach it: --allow-host NAME:{port}")
    return list(more)


class KeyRequired:
    """ASGI middleware: a request without a key that the API knows gets the API's error, before its body is read."""

    def __init__(self, app: ASGIApp, api: AsyncTransport) -> None:
        self._app, self._api = app, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                token = await self._token(Headers(scope=scope))
            except FlightloopError as error:
                await answer(error)(scope, receive, send)
                return
            scope["user"] = AuthenticatedUser(token)
            scope.setdefault("state", {})[TENANT] = token.subject
        await self._app(scope, receive, send)

    async def _token(self, headers: Headers) -> AccessToken:
        """
        Raises:
            InvalidRequest: there are two keys.
            Unauthorized: there is none, or none that the API knows.
            Overloaded, ApiUnavailable: the API does not answer.
        """
        check_once(headers)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not (key.isascii() and key.isprintable() and key):
            raise Unauthorized("send the key of flightloop's API as 'Authorization: Bearer KEY'")
        asked = Call("GET", "/v1/whoami", parsed_by(Caller), headers={"authorization": f"Bearer {key}"})
        try:
            caller = await self._api.execute(asked)
        except ConnectionFailed as error:
            raise ApiUnavailable(error.message) from error
        return AccessToken(token=key, client_id=caller.key_id, subject=caller.tenant_id, scopes=[caller.role])
