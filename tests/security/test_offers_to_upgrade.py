"""A request that offers another protocol is read like any other: its body is its body, and never the next request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from agent.api import create_app
from agent.serve.http_server import running
from agent.testing.api import KEY, api_deps
from tests.security.raw_http import connected
from tests.security.test_request_heads import behind_a_front

OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n",
    b"Connection: Upgrade\r\nUpgrade: foo\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n",
]
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
NEXT = b"POST /next HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nxyz"


def framed(path: str, offer: bytes, body: bytes, chunked: bool) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + offer
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[:10], body[10:]]
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces
    ) + b"0\r\n\r\n"  # fmt: skip


class Echo:
    """Answers with what it read; ``seen`` has the path and body of each request."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.seen.append((scope["path"], body))
        answer = json.dumps(len(body)).encode()
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("offer", OFFERS)
async def test_its_body_is_no_request(offer: bytes, chunked: bool) -> None:
    whole = framed("/first", offer, SMUGGLED, chunked) + NEXT
    for size in (1, 7, len(whole) - len(NEXT), len(whole)):
        echo = Echo()
        async with running(echo) as url, connected(url) as raw:
            for begin in range(0, len(whole), size):
                await raw.send(whole[begin : begin + size])
                await asyncio.sleep(0)
            assert [(await raw.answer()) for _ in range(2)] == [(200, len(SMUGGLED)), (200, 3)]
        assert echo.seen == [("/first", SMUGGLED), ("/next", b"xyz")]


@pytest.mark.parametrize("offer", OFFERS)
async def test_without_a_body_it_is_answered_too(offer: bytes) -> None:
    echo = Echo()
    async with running(echo) as url, connected(url) as raw:
        await raw.send((b"GET /first HTTP/1.1\r\nHost: localhost\r\n" + offer + b"\r\n") * 2 + NEXT)
        assert [(await raw.answer())[0] for _ in range(3)] == [200] * 3
    assert echo.seen == [("/first", b""), ("/first", b""), ("/next", b"xyz")]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("front", [False, True])
async def test_a_client_that_always_offers_can_stop_everything(offer: bytes, front: bool) -> None:
    """As Java's client does."""
    key = f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n".encode()
    async with behind_a_front() if front else running(create_app(api_deps())) as url, connected(url) as raw:
        await raw.send(framed("/v1/interrupts", offer + key, b'{"scope": "all", "reason": "test"}', chunked=False))
        status, document = await raw.answer()
    assert (status, document["scope"]) == (201, "all")


@pytest.mark.parametrize("front", [False, True])
async def test_nothing_is_asked_with_the_next_clients_key(front: bool) -> None:
    """Behind a proxy that reuses its connection: what one client sent takes nothing of the next one's request."""
    begun = b"DELETE /v1/interrupts/1 HTTP/1.1\r\nHost: localhost\r\nX-A: "
    victim = f"GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    async with behind_a_front() if front else running(create_app(api_deps())) as url, connected(url) as raw:
        answers: list[Any] = []
        for sent in (framed("/v1/runs/run_x/cancel", OFFERS[1], begun, chunked=False), victim):
            await raw.send(sent)
            answers.append(await raw.answer())
    assert answers[0][0] == 401
    assert (answers[1][0], answers[1][1]["tenant_id"]) == (200, "default")
