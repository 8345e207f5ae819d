"""Limits the number of JSON values in an MCP message, before anything parses it.

The SDK's types (mcp 2.3) collect every mistake in a message, and try each part of a list as several types. A message of
4 MiB would stop the event loop for minutes and fill gigabytes.
"""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.mcp_server.refusals import refusal
from flightloop.errors import FlightloopError, InvalidRequest

MOST_VALUES = 1000
"""Maximum number of values in a message. A call has about ten; texts may be long."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
"""A string of JSON, also one without an end, so that searching takes linear time."""


def exceeds(body: bytes) -> bool:
    """Whether a document may have more than ``MOST_VALUES`` values: one, and one more for each list, object and comma
    outside texts."""
    return _signs(body) >= MOST_VALUES and _signs(_STRING.sub(b"", body)) >= MOST_VALUES


def _signs(text: bytes) -> int:
    return sum(map(text.count, (b"[", b"{", b",")))


class ValueLimit:
    """ASGI middleware that refuses messages of more than ``MOST_VALUES`` values with a 400."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            received = await _whole(receive)
            if exceeds(b"".join(message.get("body", b"") for message in received)):
                raise InvalidRequest(f"the message has more than {MOST_VALUES} values, which is the limit")
        except FlightloopError as error:
            await refusal(error)(scope, receive, send)
            return
        except HTTPException as error:  # from the limit on bodies
            if not isinstance(error.__cause__, FlightloopError):
                raise
            await refusal(error.__cause__)(scope, receive, send)
            return
        await self._app(scope, _replayed(received, receive), send)


async def _whole(receive: Receive) -> list[Message]:
    """The messages of a request up to the end of its body, or to the client's disconnection."""
    received: list[Message] = []
    while not received or received[-1].get("more_body"):
        received.append(await receive())
    return received


def _replayed(received: list[Message], receive: Receive) -> Receive:
    left = iter(received)

    async def again() -> Message:
        return next(left, None) or await receive()

    return again
