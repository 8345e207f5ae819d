"""API client of the current MCP request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from starlette.requests import Request

from flightloop import AsyncFlightloop
from guardrails.turns import Turns

ClientOf = Callable[[Request | None], AsyncFlightloop]
"""Creates the API client for a message from its HTTP request; None: the message came over standard input."""


READERS = 4
"""Maximum number of concurrent reads of long documents; one tenant gets at most half of them."""


class _LazyClient:
    """API client that is created on first use, so that a handshake works without a key."""

    def __init__(self, make: Callable[[], AsyncFlightloop], stack: AsyncExitStack, turns: Turns, tenant: str) -> None:
        self._make, self._stack = make, stack
        self._turns, self._tenant = turns, tenant
        self._client: AsyncFlightloop | None = None

    def get(self) -> AsyncFlightloop:
        if self._client is None:
            self._client = self._make()
            self._stack.push_async_callback(self._client.close)
        return self._client

    def turn(self) -> AbstractAsyncContextManager[None]:
        return self._turns.one(self._tenant)


_current: ContextVar[_LazyClient] = ContextVar("api_client")


def api() -> AsyncFlightloop:
    """API client with the key of the current message. Raises ConfigError if there is no key."""
    return _current.get().get()


def turn() -> AbstractAsyncContextManager[None]:
    """Context that limits concurrent reads of long documents, fairly per tenant: all share one event loop."""
    return _current.get().turn()


class ApiAccess:
    """MCP middleware: gives each message its own API client and closes it afterwards."""

    def __init__(self, client_of: ClientOf) -> None:
        self._client_of = client_of
        self._turns = Turns(READERS, READERS // 2)

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        async with AsyncExitStack() as stack:
            client = _LazyClient(lambda: self._client_of(ctx.request), stack, self._turns, _tenant(ctx.request))
            before = _current.set(client)
            try:
                return await call_next(ctx)
            finally:
                _current.reset(before)


def _tenant(request: Request | None) -> str:
    """Tenant of a message, as set by ``KeyRequired``; over standard input there is only one."""
    return "" if request is None else str(request.user.access_token.subject)
