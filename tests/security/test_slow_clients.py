"""Clients without a key that keep the platform waiting, or have it hold much, keep nobody else waiting."""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from starlette.types import Message, Receive, Scope, Send

from agent.api import create_app
from agent.api.body_limit import BodyLimit
from agent.serve import open_connections
from agent.serve.bounded_http import HttpLimits
from agent.serve.front.app import Front
from agent.serve.http_server import running
from agent.testing.api import KEY, Said, api_deps
from agent.testing.model_server import ScriptedServer
from tests.security.platforms import ROOT, environment, scripted, until
from tests.security.raw_http import connected

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
QUICK = HttpLimits(head_s=0.3, body_stall_s=0.3)
POST = b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n"
FILES = 512
MIB = 1024 * 1024


@contextmanager
def idle(url: str, many: int, sent: bytes = b"GET /") -> Iterator[None]:
    """Connections that have sent the beginning of a request. Each is a file of this process, too."""
    host, _, port = url.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        for _ in range(many):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            connection.sendall(sent)
        yield


@asynccontextmanager
async def with_few_files(folder: Path) -> AsyncIterator[tuple[str, str, Path]]:
    """The platform's address, key and log, with a hard limit of ``FILES`` open files for each process."""
    log = folder / "serve.log"
    async with ScriptedServer().serving() as model:
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", f'ulimit -n {FILES}; exec "$0" -m agent serve --port 0', sys.executable),
                env=environment(folder, FLIGHTLOOP_MODEL_URL=model),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        try:
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            assert line.startswith("flightloop answers at "), log.read_text()
            yield line.split()[3].rstrip(";"), (folder / "home" / "key").read_text().strip(), log
        finally:
            process.kill()
            await process.communicate()


async def test_idle_connections_hold_up_neither_stop_nor_probes(tmp_path: Path) -> None:
    async with with_few_files(tmp_path) as (url, key, log):
        with idle(url, 2 * FILES):
            async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=5) as client:
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.get("/readyz")).status_code == 200
                assert (await client.post("/v1/interrupts", json={})).status_code == 201
                assert (await client.get("/v1/interrupts")).status_code == 200
        assert log.stat().st_size < 100_000


async def test_the_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(hard, 1024) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    try:
        async with scripted(tmp_path) as found:
            for process in [psutil.Process(found.process.pid), *found.children()]:
                if "agent" in process.cmdline():
                    assert process.rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: loc",
        GET + b"\r\nGET /healthz",
        POST + b"\r\n{",
        POST + f"Authorization: Bearer {KEY}\r\n\r\n".encode() + b"{",
    ],
    ids=["nothing", "half a head", "half a second head", "a body without a key", "a body with one"],
)
@pytest.mark.any_user
async def test_who_does_not_send_in_time_is_cut_off(sent: bytes) -> None:
    async with running(create_app(api_deps()), limits=QUICK, grace_s=1) as url, connected(url) as raw:
        await raw.send(sent)
        await raw.closed()


async def test_a_body_that_trickles_is_cut_off() -> None:
    async with running(create_app(api_deps()), limits=QUICK, grace_s=1) as url, connected(url) as raw:
        await raw.send(POST + f"Authorization: Bearer {KEY}\r\n\r\n".encode())

        async def trickle() -> None:
            while True:
                await raw.send(b" ")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        status, document = await raw.answer()
        trickling.cancel()
        assert (status, document["error"]["code"]) == (408, "request_timeout")


async def test_an_answer_may_take_longer_than_a_request() -> None:
    gate = asyncio.Event()
    deps = api_deps(Said("one two three", gate=gate), streaming="live")
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        running(create_app(deps), limits=QUICK) as url,
        httpx.AsyncClient(base_url=url, headers=headers) as client,
        client.stream("POST", "/v1/chat/completions", json=asked) as answer,
    ):
        asyncio.get_running_loop().call_later(3 * QUICK.head_s, gate.set)
        assert "[DONE]" in (await answer.aread()).decode()


async def test_a_server_that_is_slow_to_read_does_not_blame_its_client() -> None:
    read = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await read.wait()
            size, more = 0, True
            while more:
                message = await receive()
                size, more = size + len(message["body"]), message["more_body"]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"%d" % size})

    async with running(slow, limits=QUICK) as url, httpx.AsyncClient(base_url=url) as client:
        asyncio.get_running_loop().call_later(3 * QUICK.body_stall_s, read.set)
        assert (await client.post("/", content=b"a" * 3 * MIB)).text == str(3 * MIB)


@pytest.mark.any_user
async def test_without_a_key_no_body_is_read(tmp_path: Path) -> None:
    async with scripted(tmp_path) as found:
        api = psutil.Process(found.process.pid)
        front = found.front()
        before = [process.memory_info().rss for process in (api, front)]
        with idle(found.url, 50, POST + b"\r\n" + b"a" * 2 * MIB):
            async with httpx.AsyncClient(base_url=found.url) as client:
                refused = await client.post("/v1/runs", content=b"{")
                assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
            after = [process.memory_info().rss for process in (api, front)]
        assert [more - less < 50 * MIB for more, less in zip(after, before, strict=True)] == [True, True]


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/interrupts", "/v1/chat/completions"])
async def test_the_answer_does_not_wait_for_a_body_without_a_key(path: str) -> None:
    async def unread(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("it is passed on")

    async with running(Front(api_deps(), unread), grace_s=1) as url, connected(url) as raw:
        await raw.send(POST.replace(b"/v1/runs", path.encode()) + b"\r\n")
        status, document = await raw.answer()
        assert (status, document["error"]["code"]) == (401, "unauthorized")


async def test_what_is_open_to_everybody_takes_no_body() -> None:
    async with running(create_app(api_deps())) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.request("GET", "/metrics", content=b"a")).status_code == 400
        assert (await client.get("/metrics")).status_code == 200


async def test_bodies_that_are_held_together_have_a_limit() -> None:
    first, gate = asyncio.Event(), asyncio.Event()
    said: list[Message] = []

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        first.set()
        await gate.wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"a" * 60, "more_body": False}

    async def send(message: Message) -> None:
        said.append(message)

    limited = BodyLimit(reads, limit=60, together=100)
    scope: Scope = {"type": "http", "headers": []}
    holding = asyncio.create_task(limited(scope, receive, send))
    await first.wait()
    with pytest.raises(Exception, match="too many request bodies"):
        await limited(scope, receive, send)
    gate.set()
    await holding
    await limited(scope, receive, send)


async def test_requests_that_wait_for_the_api_leave_room_for_the_stop() -> None:
    began: list[None] = []

    async def stands_still(scope: Scope, receive: Receive, send: Send) -> None:
        began.append(None)
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(Front(api_deps(), stands_still, most=3))
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        waiting = [asyncio.create_task(client.get("/v1/models")) for _ in range(3)]
        await until(lambda: len(began) == 3)
        refused = await client.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await client.post("/v1/interrupts", json={})).status_code == 201
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def test_a_full_server_drops_who_has_waited_for_longest() -> None:
    class Client:
        def __init__(self) -> None:
            self.dropped = False

        def drop(self) -> None:
            self.dropped = True

    full = open_connections.Connections(3)
    answered, oldest, newer, newest = clients = [Client() for _ in range(4)]
    for client in clients[:3]:
        full.opened(client)
    full.answered(answered)
    full.opened(newest)
    assert [client.dropped for client in clients] == [False, True, False, False]
    full.waits(answered)  # it does not read its answer
    for client in (newer, newest):
        full.answered(client)
    full.opened(Client())
    assert (answered.dropped, newer.dropped, newest.dropped, oldest.dropped) == (True, False, False, True)


def test_no_more_files_are_open_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for files in (256, 1024, 4096, 2**20):
        monkeypatch.setattr("agent.serve.open_files.limit", lambda files=files: files)
        both = open_connections.most_connections() + open_connections.most_passed_on()
        assert both + open_connections.OTHERS <= files
        assert open_connections.most_connections() <= open_connections.MOST
