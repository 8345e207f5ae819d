"""How much of requests' bodies is held: of one, and of all together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.api.errors import PayloadTooLarge
from flightloop.errors import FlightloopError, Overloaded

TOGETHER = 256 * 1024 * 1024
"""Bytes of the bodies of all requests that are read or answered at the same time."""


class HeldBodies:
    """
    Args:
        limit: bytes of one body.
        together: bytes of all.
    """

    def __init__(self, limit: int, together: int = TOGETHER) -> None:
        self._limit = limit
        self._together = max(limit, together)
        self._held = 0

    @contextmanager
    def one(self) -> Iterator[Callable[[int], None]]:
        """For as long as a request lasts: a function that is called with the size of each piece of its body.

        It raises PayloadTooLarge, and Overloaded where others hold too much.
        """
        read = 0

        def more(size: int) -> None:
            nonlocal read
            if read + size > self._limit:
                raise PayloadTooLarge(f"the body is larger than {self._limit} bytes")
            if self._held + size > self._together:
                raise Overloaded("the bodies of too many requests are held; try again", retry_after=1.0)
            read += size
            self._held += size

        try:
            yield more
        finally:
            self._held -= read


class BodyLimit:
    """Refuses a body above ``limit`` bytes: by its declared length, else while it is read."""

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
        with self._bodies.one() as more:

            async def counted() -> Message:
                message = await receive()
                try:
                    # What declares too much is refused at the first read, inside the application's error handling.
                    more(int(declared) if beyond else len(message.get("body", b"")))
                except FlightloopError as error:  # FastAPI makes a 400 of any other exception
                    raise HTTPException(error.status, error.message) from error
                return message

            await self._app(scope, counted, send)
