"""The stop and the probes have a process of their own: what the API is at cannot hold them up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from agent.api import ApiDeps, create_app
from agent.config import Settings
from agent.reporting.readiness import CachedReadiness, Readiness
from agent.serve.front.app import BODY_BYTES, Front, answered_here
from agent.serve.front.forwarding import CLIENT, CallerOfFront, Forwarding
from agent.serve.front.process import FrontOrder, api_socket
from agent.serve.front.whole_request import PIECE, answers
from agent.serve.http_server import running
from agent.store import sql_journal
from agent.store.sql.writer import HELD_S
from agent.testing.api import KEY, OTHER_KEY, Said, ScriptedChat, api_deps
from agent.testing.model_server import ScriptedServer
from flightloop.content import TextPart
from flightloop.events import RunCreated
from flightloop.runs import Budget

ROOT = Path(__file__).parents[2]
USER = [{"role": "user", "content": "hello"}]
CHAT = {"model": "scripted", "messages": USER}


async def stands_still(scope: Scope, receive: Receive, send: Send) -> None:
    """An API that never answers anything."""
    await asyncio.Event().wait()


@asynccontextmanager
async def calling(app: Any, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "here"),
    [
        ("GET", "/healthz", True),
        ("GET", "/readyz", True),
        ("POST", "/v1/interrupts", True),
        ("DELETE", "/v1/interrupts/int_1", True),
        ("POST", "/v1/runs/run_1/interrupt", True),
        ("POST", "/v1/runs/run_1/cancel", True),
        ("GET", "/v1/interrupts", False),  # a list may be long
        ("POST", "/v1/runs", False),
        ("POST", "/v1/runs/run_1/resume", False),
        ("POST", "/v1/runs/run_1/interrupt/more", False),
        ("POST", "/v1/chat/completions", False),
        ("GET", "/metrics", False),
    ],
)
def test_what_the_front_answers_itself(method: str, path: str, here: bool) -> None:
    assert answered_here(method, path) is here


async def test_an_api_that_stands_still_holds_up_neither_stop_nor_probes() -> None:
    deps = api_deps()
    created = RunCreated(
        agent="support",
        session_id="s",
        tenant_id="default",
        input=[TextPart(text="hello")],
        budget=Budget(),
        session_budget=Budget(),
        policy_sha256="",
    )
    runs = [(await deps.journal.create(created)).run.id for _ in range(2)]
    async with calling(Front(deps, stands_still)) as client:
        waiting = [asyncio.create_task(client.post("/v1/chat/completions", json=CHAT)) for _ in range(300)]
        stop = await client.post("/v1/interrupts", json={"reason": "drill"})
        assert stop.status_code == 201
        assert (await client.delete(f"/v1/interrupts/{stop.json()['id']}")).status_code == 200
        assert (await client.post(f"/v1/runs/{runs[0]}/interrupt")).json()["status"] == "interrupted"
        assert (await client.post(f"/v1/runs/{runs[1]}/cancel")).json()["status"] == "cancelled"
        assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_the_front_answers_is_guarded_as_the_api_is() -> None:
    deps = api_deps()
    front = Front(deps, stands_still)
    async with calling(front, "a-key-that-nobody-has") as stranger, calling(front, OTHER_KEY) as other:
        assert (await stranger.post("/v1/interrupts", json={})).status_code == 401
        raised = await other.post("/v1/interrupts", json={})
        assert raised.json()["tenant_id"] == "other"
    async with calling(front) as client:
        assert (await client.delete(f"/v1/interrupts/{raised.json()['id']}")).status_code == 404
        large = await client.post("/v1/interrupts", json={"reason": "a" * BODY_BYTES})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "payload_too_large")


@asynccontextmanager
async def fronted(deps: ApiDeps) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a front on a real socket, before an API on a Unix socket."""
    async with api_socket() as listener, running(CallerOfFront(create_app(deps)), listener) as path:
        forwarding = Forwarding(path)
        async with running(Front(api_deps(), forwarding), grace_s=1) as url:
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                yield client
            deps.closing.set()
        await forwarding.close()


async def test_everything_else_passes_through_unchanged() -> None:
    deps = api_deps(Said("one two three"))
    async with fronted(deps) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "mine"})
        assert answer.json()["choices"][0]["message"]["content"].strip() == "one two three"
        assert answer.headers["x-request-id"] == "mine"
        streamed = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert streamed.text.rstrip().endswith("data: [DONE]")
        page = await client.get("/v1/audit", params={"limit": 1})
        assert (page.status_code, len(page.json()["data"])) == (200, 1)
        assert (await client.get("/nowhere")).json()["error"]["code"] == "not_found"

        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b'{"model": "scripted", ', b'"messages": ', json.dumps(USER).encode(), b"}"):
                yield piece

        chunked = await client.post(
            "/v1/chat/completions", content=pieces(), headers={"content-type": "application/json"}
        )
        assert chunked.status_code == 200, chunked.text
        body = json.dumps({**CHAT, "user": "a" * (deps.max_body_bytes + 1)})
        large = await client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
        assert large.status_code == 413


async def test_a_client_that_goes_away_cancels_the_decoding_behind_the_front() -> None:
    deps = api_deps(Said("one two three", gate=asyncio.Event()), streaming="live")
    model = deps.model
    assert isinstance(model, ScriptedChat)
    async with fronted(deps) as client:
        async with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            assert answer.status_code == 200
            await model.asked.wait()
        await model.cut.wait()
    assert model.cut.is_set()


async def test_an_api_that_is_gone_is_a_503() -> None:
    async with api_socket() as listener:
        path = listener.getsockname()
    forwarding = Forwarding(path)
    async with calling(Front(api_deps(), forwarding)) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
        assert (await client.get("/healthz")).status_code == 200
    await forwarding.close()


async def test_the_caller_s_address_is_the_front_s_to_tell() -> None:
    seen: list[Scope] = []
    app = create_app(api_deps())

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with api_socket() as listener, running(CallerOfFront(note), listener) as path:
        forwarding = Forwarding(path)
        transport = httpx.ASGITransport(Front(api_deps(), forwarding), client=("192.0.2.7", 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            await client.get("/metrics", headers={CLIENT.decode(): "127.0.0.1"})
        await forwarding.close()
    [scope] = seen
    assert scope["client"] == ("192.0.2.7", 0)
    assert CLIENT not in dict(scope["headers"])


async def test_a_whole_request_is_answered_as_it_comes_and_cancelled_with_its_reader() -> None:
    gate, gone = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = (await receive())["body"]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await gate.wait()
        finally:
            gone.set()

    async with aclosing(answers(slow, {"type": "http"}, b"asked")) as several:
        said: list[Message] = [message async for message in first(several)]
    assert [message.get("body") for message in said] == [None, b"asked"]
    assert gone.is_set()


@settings(deadline=None, database=None)
@given(st.lists(st.integers(0, 3 * PIECE + 1), max_size=6))
async def test_long_answers_are_handed_on_in_pieces(lengths: list[int]) -> None:
    """On Ray a page of 200 large runs kept the front copying it for seconds, and the stop with it."""

    async def long(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for length in lengths:
            await send({"type": "http.response.body", "body": b"x" * length, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    groups = [several async for several in answers(long, {"type": "http"}, b"")]
    assert all(sum(len(message.get("body", b"")) for message in several) <= PIECE for several in groups)
    start, *bodies = [message for several in groups for message in several]
    assert start["type"] == "http.response.start"
    assert sum(len(body["body"]) for body in bodies) == sum(lengths)
    assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]


async def first(several: Any) -> AsyncIterator[Message]:
    for message in await anext(several):
        yield message


async def test_a_model_that_takes_its_time_does_not_keep_the_probe_waiting() -> None:
    found = [Readiness(), Readiness(["the model gives no answer"])]
    gate = asyncio.Event()
    gate.set()

    async def check() -> Readiness:
        await gate.wait()
        return found.pop(0)

    ready = CachedReadiness(check, patience_s=0.01)
    assert (await ready()).missing == []
    gate.clear()
    assert (await ready()).missing == []  # as it was a moment ago
    gate.set()
    assert (await ready()).missing == ["the model gives no answer"]


def test_the_front_s_order_goes_over_a_pipe_with_its_secrets() -> None:
    settings = Settings(api_key="a" * 32, tenant_keys={"other": "b" * 32}, tenant_budget={"tokens": 5})  # type: ignore[arg-type]
    order = FrontOrder(settings, "model", "/run/api", 3)
    assert FrontOrder.read(order.written()) == order


@pytest.mark.any_user
async def test_the_stop_waits_for_one_transaction_and_not_for_all_that_wait(tmp_path: Path) -> None:
    """Two programs with one SQLite journal: one of them has a lot to write."""
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    busy, urgent = sql_journal(url), sql_journal(url, urgent=True)
    began, order = Event(), []

    def slow(number: int) -> Any:
        def work(tx: Any) -> None:
            began.set()
            Event().wait(2 * HELD_S)
            order.append(number)

        return work

    backend: Any = busy._backend
    writes = [asyncio.create_task(backend.write(slow(number))) for number in range(50)]
    await asyncio.to_thread(began.wait)
    stop = await urgent.raise_interrupt("default", "all")
    before = len(order)
    await asyncio.gather(*writes)
    assert order == list(range(50))
    assert before < 25  # it went before at least half of what had asked earlier
    assert (await busy.interrupt_snapshot()).interrupts == (stop,)
    await busy.close()
    await urgent.close()


@asynccontextmanager
async def serving(home: Path, model: str) -> AsyncIterator[tuple[psutil.Process, str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTLOOP_")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "sdk")])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent",
        "serve",
        "--port",
        "0",
        env={**kept, "PYTHONPATH": path, "FLIGHTLOOP_HOME": str(home), "FLIGHTLOOP_MODEL_URL": model},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("flightloop answers at "), (await process.communicate())[1].decode()
        yield psutil.Process(process.pid), line.split()[3].rstrip(";")
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.slow
@pytest.mark.any_user
async def test_a_process_that_stands_still_holds_up_neither_stop_nor_probe(tmp_path: Path) -> None:
    async with ScriptedServer().serving() as model, serving(tmp_path / "home", model) as (api, url):
        key = (tmp_path / "home" / "key").read_text().strip()
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
            assert (await client.get("/v1/models")).status_code == 200
            api.suspend()  # the worst that a request could do to it
            waiting = asyncio.create_task(client.get("/v1/models"))
            assert (await client.get("/healthz")).status_code == 200
            stop = await client.post("/v1/interrupts", json={"reason": "drill"})
            assert not waiting.done()
            api.resume()
            assert stop.status_code == 201
            assert (await waiting).status_code == 200
            refused = await client.post("/v1/chat/completions", json=CHAT)
            assert refused.status_code == 423
            figures = (await client.get("/metrics")).text
            assert "flightloop_guardrail_interrupts_total" in figures
        children = api.children(recursive=True)
        api.send_signal(signal.SIGTERM)
        await asyncio.to_thread(psutil.wait_procs, [api, *children])
        assert [child for child in children if child.is_running()] == []


@pytest.mark.slow
@pytest.mark.any_user
async def test_without_its_front_the_platform_ends_and_says_so(tmp_path: Path) -> None:
    async with ScriptedServer().serving() as model, serving(tmp_path / "home", model) as (api, _):
        [front] = [child for child in api.children() if "agent.serve.front" in " ".join(child.cmdline())]
        front.kill()
        await asyncio.to_thread(psutil.wait_procs, [api])
        assert not api.is_running() or api.status() == psutil.STATUS_ZOMBIE
