"""How a request's body is read: as JSON that can be kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

NESTED = 200_000
ITEMS = 600_000
"""Opening brackets and commas of a body. Reading so many takes a tenth of a second, in which nothing else is served."""


class _BodyRequest(Request):
    async def json(self) -> Any:
        """The parsed body; Python's own parser takes halves of characters, which no journal can keep, and any depth.

        Raises:
            HTTPException: 400, it is no JSON, or of too many pieces.
        """
        body = await self.body()
        nested, items = body.count(b"[") + body.count(b"{"), body.count(b",")
        if nested > NESTED or items > ITEMS:  # those inside of texts count as well: what is meant is cheap to know
            raise HTTPException(
                400,
                f"the body has {nested} opening brackets and {items} commas; the limits are {NESTED} and {ITEMS}",
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
            return await handle(_BodyRequest(request.scope, request.receive))

        return read_by_us
