"""Parses request bodies as JSON; large ones in a thread, one at a time."""

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
"""Maximum numbers of opening brackets and of commas in a body. Parsing takes at most 0.1 s, validation several times
that."""
LARGE = 64 * 1024
"""Minimum bytes of a body that is parsed in a thread; smaller ones only block the event loop for a few milliseconds."""

Check = Callable[[Any], Any]
"""Validates a parsed body for its route. Raises _Refused."""


class _Refused(HTTPException):
    """The body is invalid. An HTTPException, because FastAPI reports other exceptions as invalid JSON."""

    def __init__(self, error: InvalidRequest) -> None:
        super().__init__(error.status, error.message)
        self.error = error


class _BodyRequest(Request):
    def __init__(self, request: Request, check: Check) -> None:
        super().__init__(request.scope, request.receive)
        self._check = check

    async def json(self) -> Any:
        """The parsed body; a large one is also validated.

        Raises:
            HTTPException: 400, not valid JSON, too many brackets or commas, or invalid for the route.
        """
        body = await self.body()
        if len(body) < LARGE:
            return _parsed(body)
        # In a thread, and one at a time: parsing and validation hold the GIL.
        async with deps_of(self).large_bodies.one(getattr(self.state, TENANT, None) or ""):
            return await asyncio.to_thread(lambda: self._check(_parsed(body)))


def _parsed(body: bytes) -> Any:
    """Parses JSON with pydantic, because Python's own accepts lone surrogates, which databases refuse, and any nesting.

    Raises:
        HTTPException: 400, not valid JSON, or too many brackets or commas.
    """
    nested, items = body.count(b"[") + body.count(b"{"), body.count(b",")
    if nested > NESTED or items > ITEMS:  # also counts those inside strings, which keeps the check cheap
        raise HTTPException(
            400, f"the body has {nested} opening brackets and {items} commas; the limits are {NESTED} and {ITEMS}"
        )
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, f"the body is not valid JSON: {error}") from None


class BodyRoute(APIRoute):
    """Route that parses and validates its JSON body as a ``_BodyRequest``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read_by_us(request: Request) -> Response:
            try:
                return await handle(_BodyRequest(request, self._checked))
            except _Refused as refused:
                await principal_of(request, deps_of(request))  # counts against the key's rate limit
                raise refused.error from None

        return read_by_us

    def _checked(self, value: Any) -> Any:
        """Validates the body instead of FastAPI, which would do so on the event loop."""
        assert self.body_field is not None
        assert not self._embed_body_fields
        made, problems = self.body_field.validate(value)
        if problems:
            raise _Refused(invalid_request(problems))
        return made
