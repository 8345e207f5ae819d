"""How a request's body is read: as JSON that can be kept, a large one when it is its tenant's turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from agent.api.access import deps_of, principal_of
from agent.api.body_limit import TENANT
from flightloop.errors import InvalidRequest, invalid_request

NESTED = 200_000
ITEMS = 600_000
"""Opening brackets and commas of a body. Reading so many takes a tenth of a second, and checking them some tenths."""
LARGE = 64 * 1024
"""Bytes from which on a body has its turn; smaller ones take some milliseconds, in which nothing else is served."""

Check = Callable[[Any], Any]
"""Makes of a parsed body what its route takes. Raises _Refused."""


class _Refused(HTTPException):
    """Of this type because FastAPI takes others for mistakes in the JSON."""

    def __init__(self, error: InvalidRequest) -> None:
        super().__init__(error.status, error.message)
        self.error = error


class _BodyRequest(Request):
    def __init__(self, request: Request, check: Check) -> None:
        super().__init__(request.scope, request.receive)
        self._check = check

    async def json(self) -> Any:
        """The parsed body; a large one is checked already.

        Raises:
            HTTPException: 400, it is no JSON, of too many pieces, or not what the route takes.
        """
        body = await self.body()
        if len(body) < LARGE:
            return _parsed(body)
        # In a thread, and one at a time: as long as one thread parses or checks, no other one runs.
        async with deps_of(self).large_bodies.one(getattr(self.state, TENANT, None) or ""):
            return await asyncio.to_thread(lambda: self._check(_parsed(body)))


def _parsed(body: bytes) -> Any:
    """Python's own parser takes halves of characters, which no journal can keep, and any depth.

    Raises:
        HTTPException: 400, it is no JSON, or of too many pieces.
    """
    nested, items = body.count(b"[") + body.count(b"{"), body.count(b",")
    if nested > NESTED or items > ITEMS:  # those inside of texts count as well: what is meant is cheap to know
        raise HTTPException(
            400, f"the body has {nested} opening brackets and {items} commas; the limits are {NESTED} and {ITEMS}"
        )
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, f"the body is not valid JSON: {error}") from None


class BodyRoute(APIRoute):
    """A route whose body is JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read_by_us(request: Request) -> Response:
            try:
                return await handle(_BodyRequest(request, self._checked))
            except _Refused as refused:
                await principal_of(request, deps_of(request))  # counts among the key's requests
                raise refused.error from None

        return read_by_us

    def _checked(self, value: Any) -> Any:
        """What the route takes; FastAPI, which would check it on the event loop, leaves that as it is."""
        assert self.body_field is not None
        assert not self._embed_body_fields
        made, problems = self.body_field.validate(value)
        if problems:
            raise _Refused(invalid_request(problems))
        return made
