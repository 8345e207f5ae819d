"""Forwards requests and responses as streams over a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.api.completions.cancellation import first_of, gone
from agent.api.errors import answer
from flightloop.errors import ModelUnavailable

CLIENT = b"x-flightloop-client"
"""Header with the client's address. Clients can't forge it: only the front reaches the socket, and overwrites it."""
_OWN_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"proxy-connection"}

Headers = Iterable[tuple[bytes, bytes]]


class Forwarding:
    """ASGI application that forwards requests to the API at the Unix socket ``path``. Close it after use."""

    def __init__(self, path: str) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=path, limits=httpx.Limits(max_connections=None, max_keepalive_connections=64)
            ),
            timeout=None,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = asyncio.Event()
        await first_of(self._relay(scope, _body(receive, read), send), _gone(receive, read))

    async def _relay(self, scope: Scope, body: AsyncIterator[bytes], send: Send) -> None:
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        # The exact path, because httpx.URL would resolve dot segments.
        exact = {"target": target}
        request = httpx.Request(scope["method"], "http://api", headers=_asked(scope), content=body, extensions=exact)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError:
            lost = ModelUnavailable("the API process does not respond; try again", retry_after=1.0)
            await answer(lost)(scope, _nothing, send)
            return
        try:
            headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _OWN_HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async for piece in response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()


class CallerOfFront:
    """Middleware of the API: sets a request's client address to the one that the front saw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            told = [value for name, value in scope["headers"] if name == CLIENT]
            rest = [(name, value) for name, value in scope["headers"] if name != CLIENT]
            client = (told[0].decode("latin-1"), 0) if told and told[0] else None
            scope = {**scope, "headers": rest, "client": client}
        await self._app(scope, receive, send)


def _asked(scope: Scope) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in scope["headers"] if name not in _OWN_HOP and name != CLIENT]
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        kept.append((b"transfer-encoding", b"chunked"))
    elif not any(name == b"content-length" for name, _ in kept):
        kept.append((b"content-length", b"0"))
    host = scope["client"][0] if scope.get("client") else ""
    return [*kept, (CLIENT, host.encode("latin-1"))]


async def _body(receive: Receive, read: asyncio.Event) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.ReadError("the client went away")
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]
    read.set()


async def _gone(receive: Receive, read: asyncio.Event) -> None:
    """Returns when the client disconnects after its body was read."""
    await read.wait()
    await gone(receive)


async def _nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}
