"""Limits the size of each request body, and of all bodies in memory together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api.errors import PayloadTooLarge
from flightloop.errors import FlightloopError, Overloaded

TOGETHER = 256 * 1024 * 1024
"""Maximum total bytes of request bodies in memory, for all requests being received or answered."""
SHARE = 0.75
"""Maximum share of ``TOGETHER`` for one tenant."""
TENANT = "tenant"
"""Key in a scope's state: id of the tenant that sent the request."""


class HeldBodies:
    """Counts body bytes in memory.

    Args:
        limit: maximum bytes of one body.
        together: maximum bytes of all bodies.
    """

    def __init__(self, limit: int, together: int = TOGETHER) -> None:
        self._limit = limit
        self._together = max(limit, together)
        self._held = Counter[str | None]()  # by tenant

    @contextmanager
    def one(self, scope: Scope) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with the size of each piece of one body. The bytes count until the context ends.

        The function raises PayloadTooLarge, or Overloaded if other bodies leave no room.
        """
        read, tenant = 0, scope.get("state", {}).get(TENANT)

        def more(size: int) -> None:
            nonlocal read
            if read + size > self._limit:
                raise PayloadTooLarge(f"the body exceeds {self._limit} bytes")
            room = min(self._together - self._held.total(), self._together * SHARE - self._held[tenant])
            if size > room and self._held.total():
                raise Overloaded("too many request bodies are in memory; try again", retry_after=1.0)
            read += size
            self._held[tenant] += size

        try:
            yield more
        finally:
            self._held[tenant] -= read
            self._held += Counter()  # drops tenants with zero


class BodyLimit:
    """ASGI middleware that refuses bodies above ``limit`` bytes, by their declared length or while they are read."""

    def __init__(self, app: ASGIApp, limit: int, together: int = TOGETHER) -> None:
        self._app = app
        self._limit = limit
        self._bodies = HeldBodies(limit, together)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        beyond = declared.isdigit() and int(declared) > self._limit
        with self._bodies.one(scope) as more:

            async def counted() -> Message:
                message = await receive()
                try:
                    # A declared length above the limit is refused at the first read, inside the application's error
                    # handling.
                    more(int(declared) if beyond else len(message.get("body", b"")))
                except FlightloopError as error:  # FastAPI turns any other exception into a 400
                    raise HTTPException(error.status, error.message) from error
                return message

            await self._app(scope, counted, send)
