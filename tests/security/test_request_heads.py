"""A request's head has limits while it comes, and means one thing to every process that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from agent.api import create_app
from agent.serve.bounded_http import PIPELINED, HttpLimits
from agent.serve.front.app import Front
from agent.serve.front.forwarding import CallerOfFront, Forwarding
from agent.serve.front.process import api_socket
from agent.serve.http_server import running
from agent.testing.api import KEY, api_deps
from tests.security.platforms import scripted
from tests.security.raw_http import asked, connected

LIMITS = HttpLimits()
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
PLENTY = 8 * 1024 * 1024
"""Bytes that no server should take as a head."""
FLOODS = {
    "an endless header": (GET + b"x-a: ", b"a" * 65536),
    "countless headers": (GET, b"a:b\r\n" * 13107),
    "an endless path": (b"GET /", b"a" * 65536),
    "empty lines before a request": (b"", b"\r\n" * 32768),
}


@pytest.mark.slow
async def test_a_head_without_end_is_cut_off(tmp_path: Path) -> None:
    async with scripted(tmp_path) as found:
        front = found.front()
        before = front.memory_info().rss
        for start, piece in FLOODS.values():
            async with connected(found.url) as raw:
                await raw.send(start)
                assert await raw.flood(piece, PLENTY) < PLENTY
        assert front.memory_info().rss - before < PLENTY
        assert (await asked(found.url, GET + b"\r\n"))[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x-a: " + b"a" * LIMITS.head_bytes + b"\r\n\r\n",
        GET + b"a:b\r\n" * LIMITS.head_fields + b"\r\n",
        b"GET /" + b"a" * LIMITS.head_bytes + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_a_head_that_is_too_large_is_a_431(head: bytes) -> None:
    async with running(create_app(api_deps())) as url, connected(url) as raw:
        await raw.send(head)
        status, document = await raw.answer()
        assert (status, document["error"]["code"]) == (431, "head_too_large")
        await raw.closed()


async def test_a_head_within_the_limits_is_read() -> None:
    async with running(create_app(api_deps())) as url:
        fields = b"".join(b"x-%d: %s\r\n" % (index, b"a" * 600) for index in range(LIMITS.head_fields - 1))
        assert (await asked(url, GET + fields + b"\r\n"))[0] == 200


async def test_trailers_and_pipelines_have_an_end() -> None:
    hung = asyncio.Event()

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            await hung.wait()

    async with running(hangs, grace_s=1) as url:
        async with connected(url) as raw:
            await raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-a: ")
            assert await raw.flood(b"a" * 65536, PLENTY) < PLENTY
        async with connected(url) as raw:
            await raw.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * (PIPELINED + 2))
            await raw.closed()
        hung.set()


@pytest.mark.parametrize("name", ["Host", "Authorization"])
@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/metrics"])
async def test_a_header_that_is_there_twice_is_a_400(name: str, path: str) -> None:
    headers = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\n{name}: Bearer {KEY}\r\n"
    async with behind_a_front() as url:
        status, document = await asked(url, f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode())
    assert (status, document["error"]["code"]) == (400, "invalid_request")
    assert name.lower() in document["error"]["message"]


async def test_blanks_around_a_headers_value_are_no_part_of_it() -> None:
    async with running(create_app(api_deps())) as url:
        key = f"Authorization: \t Bearer {KEY} \t \r\n".encode()
        status, document = await asked(url, b"GET /v1/whoami HTTP/1.1\r\nHost:  localhost \t\r\n" + key + b"\r\n")
        assert (status, document["tenant_id"]) == (200, "default")
        async with connected(url) as raw:
            await raw.send(GET + b"x-request-id: \t mine \t\r\n\r\n")
            head = await raw.reader.readuntil(b"\r\n\r\n")
        assert b"x-request-id: mine\r\n" in head


@pytest.mark.parametrize("path", ["/v1/runs/../keys", "/v1/./keys", "/v1/runs/%2e%2e/keys", "//v1/keys", "/v1//keys"])
async def test_a_path_is_passed_on_as_it_is(path: str) -> None:
    async with behind_a_front() as url:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        assert (await asked(url, head))[0] == 404


@pytest.mark.parametrize("path", ["/v1/whoami", "/healthz", "/nowhere"])
async def test_an_answer_has_each_header_once(path: str) -> None:
    """Those of the front and those of the API behind it."""
    async with behind_a_front() as url, connected(url) as raw:
        await raw.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        head = (await raw.reader.readuntil(b"\r\n\r\n")).lower()
    names = [line.split(b":")[0] for line in head.split(b"\r\n")[1:-2]]
    assert b"date" in names
    assert sorted(names) == sorted(set(names))


@asynccontextmanager
async def behind_a_front() -> AsyncIterator[str]:
    api = CallerOfFront(create_app(api_deps()))
    async with api_socket() as listener, running(api, listener, limits=None) as path:
        forwarding = Forwarding(path)
        async with running(Front(api_deps(), forwarding), grace_s=1) as url:
            yield url
        await forwarding.close()
