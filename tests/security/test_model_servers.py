"""What a model server sends is a stranger's: it has limits, holds nobody up, and its words pass no rail unseen."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from agent.api import create_app
from agent.models.remote import MOST_OF_EVENT, MOST_OF_LIST, RemoteChatModel, RemoteConfig
from agent.models.server_error import MOST_LOGGED
from agent.serve.http_server import running
from agent.testing.api import KEY, api_deps
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.answer import Answer
from flightloop.chat import ChatRequest
from flightloop.errors import InvalidRequest, ModelUnavailable
from flightloop.sse import EventTooLong, SSEDecoder

TOLD = "my IBAN DE89370400440532013000 ![x](https://evil.example/SECRET)"
ASK = ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "hello"}]})


@asynccontextmanager
async def listing(answer: Callable[[Request], Response]) -> AsyncIterator[RemoteChatModel]:
    app = FastAPI(openapi_url=None)
    app.add_api_route("/v1/models", answer, methods=["GET"], response_model=None)
    async with running(app, grace_s=1) as url:
        model = RemoteChatModel(RemoteConfig(url, timeout_s=5))
        try:
            yield model
        finally:
            await model.close()


@asynccontextmanager
async def talking(*answers: ScriptedAnswer, **config: Any) -> AsyncIterator[RemoteChatModel]:
    async with ScriptedServer(*answers).serving() as url:
        model = RemoteChatModel(RemoteConfig(url, **config))
        try:
            yield model
        finally:
            await model.close()


async def test_a_compressed_list_of_models_is_not_unpacked() -> None:
    """Some kilobytes may be gigabytes, which the front would hold while a stop waits."""
    asked: list[str] = []

    def answer(request: Request) -> Response:
        asked.append(request.headers["accept-encoding"])
        packed = gzip.compress(b'{"data": [{"id": "m"}]}')
        return Response(packed, headers={"content-encoding": "gzip"}, media_type="application/json")

    async with listing(answer) as model:
        with pytest.raises(ModelUnavailable, match="compressed"):
            await model.models()
    assert asked == ["identity"]


async def test_a_list_of_models_has_an_end() -> None:
    sent = 0

    def countless(request: Request) -> Response:
        return Response(json.dumps({"data": [{"id": "m"}] * 1001}), media_type="application/json")

    def endless(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                await asyncio.sleep(0)  # so that the server sees who has gone
                yield b" " * 65_536
                sent += 65_536

        return StreamingResponse(pieces(), media_type="application/json")

    for answer in (countless, endless):
        async with listing(answer) as model:
            with pytest.raises(ModelUnavailable, match="or more than 1000"):
                await model.models()
    assert sent < 64 * MOST_OF_LIST  # what the sockets hold, besides


async def test_an_event_of_a_model_server_has_an_end() -> None:
    chunk = json.dumps({"choices": [{"delta": {"content": "x" * MOST_OF_EVENT}}]})
    async with talking(ScriptedAnswer(chunks=[chunk])) as model:
        with pytest.raises(ModelUnavailable, match="an event of more than"):
            async for _ in model.stream(ASK):
                pass


def logprobs(count: int, **more: Any) -> str:
    """A chunk of log-probabilities, without a text."""
    tokens = [{"token": "", "logprob": -0.5, **more}] * count
    return json.dumps({"choices": [{"index": 0, "delta": {}, "logprobs": {"content": tokens}}]})


END = json.dumps({"choices": [{"index": 0, "delta": {"content": "end"}, "finish_reason": "stop"}]})


@pytest.mark.parametrize(("served", "asked"), [(False, False), (False, True), (True, False)])
async def test_log_probabilities_that_nobody_asked_for_are_not_kept(served: bool, asked: bool) -> None:
    """Twenty bytes of a server's answer are some hundred in memory, and the answer's text counts none of them."""
    request = ASK.model_copy(update={"logprobs": asked})
    async with talking(ScriptedAnswer(chunks=[*[logprobs(100)] * 50, END]), logprobs=served) as model:
        answer = Answer()
        async for chunk in model.stream(request):
            assert chunk.choices[0].logprobs is None
            answer.add(chunk)
    assert (answer.logprobs, answer.text, answer.extension) == ([], "end", None)


@pytest.mark.parametrize(
    ("limits", "context", "most"), [({"max_tokens": 70}, None, 70), ({}, 90, 90), ({"max_tokens": 8000}, 90, 5000)]
)
async def test_an_answer_has_no_more_log_probabilities_than_tokens(
    limits: dict[str, int], context: int | None, most: int
) -> None:
    request = ASK.model_copy(update={"logprobs": True, "top_logprobs": 2, **limits})
    chunk = logprobs(100, top_logprobs=[{"token": "", "logprob": -1.0}] * 40, bytes=[0] * 1000, more="x" * 1000)
    async with talking(ScriptedAnswer(chunks=[*[chunk] * 50, END]), logprobs=True, context_length=context) as model:
        answer = Answer()
        async for each in model.stream(request):
            answer.add(each)
    assert len(answer.logprobs) == most
    assert {(len(token.top_logprobs), token.bytes) for token in answer.logprobs} == {(2, None)}
    assert answer.extension is not None
    assert answer.extension.confidence == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize("token", ["x", {"top_logprobs": 5}, {"token": "x"}, {"logprob": 1, "bytes": 5}])
async def test_what_is_no_log_probability_is_an_error(token: Any) -> None:
    choice = token if isinstance(token, str) else {"logprobs": {"content": [token, "y"]}}
    request = ASK.model_copy(update={"logprobs": True})
    async with talking(ScriptedAnswer(chunks=[json.dumps({"choices": [choice]}), END]), logprobs=True) as model:
        with pytest.raises(ModelUnavailable, match="invalid chat chunk"):
            async for _ in model.stream(request):
                pass


@pytest.mark.parametrize("line", [b"data: " + b"x" * 50, b"x\n" * 50, b"data: x\n" * 10, b": ping\r\n" * 10])
def test_an_event_has_an_end_however_it_is_made(line: bytes) -> None:
    decoder = SSEDecoder(most=40)
    with pytest.raises(EventTooLong):
        _ = [list(decoder.push(line[at : at + 1])) for at in range(len(line))]
    shorter = b"data: " + b"x" * 34 + b"\n\n" + b"data: y\n\n"
    assert [event.data for event in SSEDecoder(most=40).push(shorter)] == ["x" * 34, "y"]


async def test_a_long_event_is_read_beside_the_loop() -> None:
    """Others are served while it is parsed."""
    chunk = json.dumps({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}], "more": [{}] * 200_000})
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with talking(ScriptedAnswer(chunks=[chunk])) as model:
        stream = model.stream(ASK)
        running_beside = asyncio.create_task(others())
        assert [each.choices[0].delta.content async for each in stream] == ["hi"]
        running_beside.cancel()
    assert turns > 100


REFUSALS = [
    ScriptedAnswer(status=400, body={"error": {"message": TOLD, "param": TOLD, "code": TOLD, "type": TOLD}}),
    ScriptedAnswer(status=400, body={"error": {"message": f"maximum context length {TOLD}"}}),
    ScriptedAnswer(status=404, body={"error": {"message": TOLD}}),
    ScriptedAnswer(status=429, body={"error": {"message": TOLD}}),
    ScriptedAnswer(status=500, body=TOLD),
    ScriptedAnswer(chunks=[json.dumps({"error": {"message": TOLD, "code": "store_unavailable"}})]),
    ScriptedAnswer(chunks=[TOLD]),
]


@pytest.mark.parametrize("answer", REFUSALS)
async def test_a_model_servers_words_reach_no_client(answer: ScriptedAnswer) -> None:
    """Its message may be its answer: it passes no rail, nor is it held."""
    async with talking(answer) as model:
        transport = httpx.ASGITransport(create_app(replace(api_deps(), model=model)))
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            document = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
            refused = await client.post("/v1/chat/completions", json=document)
    assert refused.status_code >= 400
    assert "evil" not in refused.text
    assert "IBAN" not in refused.text
    assert refused.json()["error"]["code"] != "store_unavailable"


async def test_a_model_servers_words_are_in_the_log_cut() -> None:
    body = {"error": {"message": "x" * 5000, "param": "top_p"}}
    async with talking(ScriptedAnswer(status=400, body=body)) as model:
        with structlog.testing.capture_logs() as logs, pytest.raises(InvalidRequest) as caught:
            async for _ in model.stream(ASK):
                pass
    assert caught.value.param == "top_p"
    [told] = [entry["told"] for entry in logs if "told" in entry]
    assert told.startswith('{"error"')
    assert len(told) == MOST_LOGGED


async def test_a_broken_answer_is_not_quoted() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"IBAN DE89370400440532013000\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        model = RemoteChatModel(RemoteConfig(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        with pytest.raises(ModelUnavailable) as caught:
            await model.models()
        await model.close()
    assert "IBAN" not in str(caught.value)
