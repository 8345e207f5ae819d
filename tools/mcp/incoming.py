"""What reaches the SDK's session of all that a server sends: answers, and requests without their parameters.

The SDK (mcp 2.3) parses each message into types that collect every mistake, and try each part of a list as several
types. A request of 1 MiB for sampling, which is refused anyway, stopped the worker for many seconds and took gigabytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

from anyio import EndOfStream
from mcp.client import Transport
from mcp.client._transport import ReadStream, TransportStreams
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

FIRST_ID = 1000
"""Request id of the platform's first own request, whose answers it parses itself. The SDK uses those below."""
MOST_VALUES = 1000
"""Maximum number of JSON values in an answer that the SDK parses: what a server says of itself, and its errors."""


@asynccontextmanager
async def filtered(transport: Transport) -> AsyncIterator[TransportStreams]:
    """A transport whose session reads only ``admitted`` messages."""
    async with transport as (read, write):
        yield _Incoming(read), write


def admitted(message: JSONRPCMessage) -> JSONRPCMessage | None:
    """The message as the session may read it; None if it may not.

    No notification is used. Requests other than ``ping`` are refused whatever their parameters are.
    """
    match message:
        case JSONRPCNotification():
            return None
        case JSONRPCRequest():
            return message.model_copy(update={"params": None})
        case JSONRPCResponse(id=int(number)) if number >= FIRST_ID:
            return message
        case JSONRPCResponse():
            if _is_short(message.result):
                return message
            problem = f"the server's answer has more than {MOST_VALUES} values"
            return JSONRPCError(jsonrpc="2.0", id=message.id, error=ErrorData(code=INVALID_REQUEST, message=problem))
        case JSONRPCError():
            if _is_short(message.error.data):
                return message
            return message.model_copy(update={"error": message.error.model_copy(update={"data": None})})


def _is_short(document: Any) -> bool:
    count, left = 0, [document]
    while left and count <= MOST_VALUES:
        one = left.pop()
        count += 1
        left += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return count <= MOST_VALUES


class _Incoming:
    """Read stream of a session. Implements the SDK's ``ReadStream``."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception]) -> None:
        self._stream = stream

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        while True:
            item = await self._stream.receive()
            if isinstance(item, Exception):
                return item
            if (message := admitted(item.message)) is not None:
                return replace(item, message=message)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Incoming:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> _Incoming:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)
