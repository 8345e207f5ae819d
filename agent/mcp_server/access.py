"""The API's client of the MCP request that is being answered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from starlette.requests import Request

from flightloop import AsyncFlightloop

ClientOf = Callable[[Request | None], AsyncFlightloop]
"""Makes the API's client for an HTTP request; None: the message came over standard input."""


class _LazyClient:
    """Made when it is first needed: a handshake works without a key."""

    def __init__(self, make: Callable[[], AsyncFlightloop], stack: AsyncExitStack) -> None:
        self._make, self._stack = make, stack
        self._client: AsyncFlightloop | None = None

    def get(self) -> AsyncFlightloop:
        if self._client is None:
            self._client = self._make()
            self._stack.push_async_callback(self._client.close)
        return self._client


_current: ContextVar[_LazyClient] = ContextVar("api_client")


def api() -> AsyncFlightloop:
    """The API under the key of the message that is being answered. Raises ConfigError: there is no key."""
    return _current.get().get()


class ApiAccess:
    """MCP middleware: each message is answered with a client of its own, closed afterwards."""

    def __init__(self, client_of: ClientOf) -> None:
        self._client_of = client_of

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        async with AsyncExitStack() as stack:
            before = _current.set(_LazyClient(lambda: self._client_of(ctx.request), stack))
            try:
                return await call_next(ctx)
            finally:
                _current.reset(before)
