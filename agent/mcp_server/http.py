"""MCP server over streamable HTTP. It has no API key of its own: it calls the API with the key of each request."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api.body_limit import TENANT, BodyLimit
from agent.api.completions.cancellation import first_of
from agent.api.screening import check_once
from agent.mcp_server.refusals import refusal
from agent.mcp_server.session_share import SessionShare
from agent.mcp_server.value_limit import ValueLimit
from flightloop import AsyncFlightloop
from flightloop.call import Call, parsed_by
from flightloop.errors import ConfigError, ConnectionFailed, FlightloopError, Overloaded, Unauthorized
from flightloop.keys import Caller
from flightloop.settings import ClientSettings
from flightloop.transport import AsyncTransport

log = structlog.get_logger(__name__)
PATH = "/mcp"
WATCH_S = 10.0
"""Seconds between checks of a stream's key. When a key is revoked, the API ends its own streams within two seconds; the
MCP stream may stay open, but idle, until the next check."""
MOST_AT_WORK = 100
"""Maximum number of concurrent requests of one tenant, including those that wait for a run."""
MOST_SESSIONS = 1000
"""Maximum number of sessions (protocol versions with a handshake), three quarters of them for one tenant. They end half
an hour after their last request."""


class ApiUnavailable(FlightloopError):
    code = "not_ready"
    status = 503
    retryable = True


@asynccontextmanager
async def application(
    server: MCPServer[Any],
    url: str,
    hosts: Sequence[str],
    max_body_bytes: int,
    *,
    watch_s: float = WATCH_S,
    max_sessions: int = MOST_SESSIONS,
) -> AsyncIterator[ASGIApp]:
    """Yields the ASGI application.

    Args:
        server: MCP server whose API clients ``under_key`` creates.
        url: base URL of the API, which checks the keys.
        hosts: allowed ``Host`` values (``allowed_hosts``) and origins, against DNS rebinding.
        max_body_bytes: largest request body.
        watch_s: seconds between two checks of an open stream's key.
        max_sessions: maximum number of sessions; one tenant gets at most its share.
    """
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    security = TransportSecuritySettings(allowed_hosts=list(hosts), allowed_origins=origins)
    transport = server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=max_body_bytes,
        max_sessions=max_sessions,
        transport_security=security,
    )
    # The SDK (2.3) has no public access to the sessions' owners.
    inner = SessionShare(AuthContextMiddleware(transport), server.session_manager._session_owners, max_sessions)
    api = AsyncTransport(ClientSettings(url, api_key="of each request", retries=0))
    try:
        # The SDK binds a session, and the state that a client returns with a user's answer, to the key it began with.
        yield KeyRequired(BodyLimit(ValueLimit(inner), max_body_bytes), api, watch_s)
    finally:
        await api.close()


def under_key(url: str, request: Request | None) -> AsyncFlightloop:
    """API client with the key that ``KeyRequired`` has accepted."""
    assert request is not None
    user: AuthenticatedUser = request.user
    return AsyncFlightloop(url, user.access_token.token)


def allowed_hosts(host: str, port: int, more: Sequence[str] = ()) -> list[str]:
    """Allowed ``Host`` values of a server: its address, and ``more`` (each HOST or HOST:PORT).

    Raises:
        ConfigError: the server listens on all addresses or on a host name, and ``more`` is empty.
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
        raise ConfigError(f"--host {host}: add --allow-host NAME:{port} with the host name that clients use")
    return list(more)


class KeyRequired:
    """ASGI middleware: refuses requests without a valid key before reading the body, limits a tenant's concurrent
    requests, and ends streams whose key is revoked.

    Args:
        app: receives the requests; ``scope["user"]`` is the key's holder.
        api: connection to the API.
        watch_s: seconds between two checks of an open stream's key.
    """

    def __init__(self, app: ASGIApp, api: AsyncTransport, watch_s: float = WATCH_S) -> None:
        self._app, self._api, self._watch_s = app, api, watch_s
        self._at_work: Counter[str] = Counter()
        self._looking: dict[str, asyncio.Task[Caller]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            key = key_of(Headers(scope=scope))
            caller = await self._caller(key)
            asks = scope["method"] == "POST"  # a listening stream counts as a session instead
            if asks and self._at_work[caller.tenant_id] >= MOST_AT_WORK:
                raise Overloaded(f"{MOST_AT_WORK} requests are in progress (the limit); try again", retry_after=1)
        except FlightloopError as error:
            await refusal(error)(scope, receive, send)
            return
        self._at_work[caller.tenant_id] += asks
        try:
            await self._under(key, caller, scope, receive, send)
        finally:
            self._at_work[caller.tenant_id] -= asks
            if not self._at_work[caller.tenant_id]:
                self._at_work.pop(caller.tenant_id, None)

    async def _under(self, key: str, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = AuthenticatedUser(
            AccessToken(token=key, client_id=caller.key_id, subject=caller.tenant_id, scopes=[caller.role])
        )
        scope.setdefault("state", {})[TENANT] = caller.tenant_id
        answering = False

        async def watched(message: Message) -> None:
            nonlocal answering
            answering = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        async def work() -> None:
            await self._app(scope, receive, watched)

        await first_of(work(), self._revoked(key))
        if answering:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _caller(self, key: str) -> Caller:
        """Looks up the holder of a key. Concurrent requests share one lookup, which limits the load on the API.
        Raises Unauthorized, or Overloaded or ApiUnavailable if the API does not respond.
        """
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = asyncio.create_task(self._look_up(key))
            looking.add_done_callback(lambda _: self._looking.pop(key))
        return await asyncio.shield(looking)

    async def _look_up(self, key: str) -> Caller:
        asked = Call("GET", "/v1/whoami", parsed_by(Caller), headers={"authorization": f"Bearer {key}"})
        try:
            return await self._api.execute(asked)
        except ConnectionFailed as error:
            raise ApiUnavailable(error.message) from error

    async def _revoked(self, key: str) -> None:
        """Returns once the API no longer accepts the key."""
        while True:
            await asyncio.sleep(self._watch_s)
            try:
                await self._caller(key)
            except Unauthorized:
                return
            except FlightloopError as error:  # without the API, the stream sends nothing either
                log.warning("key of an MCP stream cannot be checked", error=error.message)


def key_of(headers: Headers) -> str:
    """The bearer key of a request.

    Raises:
        InvalidRequest: ``Authorization`` or ``Host`` is sent twice.
        Unauthorized: there is no well-formed key.
    """
    check_once(headers)
    scheme, _, key = headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not (key and key.isascii() and key.isprintable()):
        raise Unauthorized("send the API key as 'Authorization: Bearer KEY'")
    return key
