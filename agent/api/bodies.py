"""How a request's body is read: as JSON that can be kept."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException


class _BodyRequest(Request):
    async def json(self) -> Any:
        """The parsed body; Python's own parser takes halves of characters, which no journal can keep, and any depth.

        Raises:
            HTTPException: 400, it is no JSON.
        """
        try:
            return from_json(await self.body())
        except ValueError as error:
            raise HTTPException(400, f"the body is not valid JSON: {error}") from None


class BodyRoute(APIRoute):
    """A route whose body is JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read_by_us(request: Request) -> Response:
            return await handle(_BodyRequest(request.scope, request.receive))

        return read_by_us
