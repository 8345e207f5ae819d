from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from agent.models.remote import RemoteChatModel, RemoteConfig, base_url
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.answer import completed
from flightloop.chat import ChatMessage, ChatRequest
from flightloop.errors import (
    ConfigError,
    ContextTooLong,
    FlightloopError,
    Interrupted,
    InvalidRequest,
    ModelUnavailable,
    Overloaded,
    UnsupportedContent,
)

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


def ask(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields})


@asynccontextmanager
async def talking(
    *answers: ScriptedAnswer, models: tuple[str, ...] = ("scripted",), **config: Any
) -> AsyncIterator[tuple[RemoteChatModel, ScriptedServer]]:
    server = ScriptedServer(*answers, models=models)
    async with server.serving() as url:
        model = RemoteChatModel(RemoteConfig(url, **config))
        try:
            yield model, server
        finally:
            await model.close()


async def text_of(model: RemoteChatModel, request: ChatRequest) -> str:
    return "".join([c.delta.content or "" async for chunk in model.stream(request) for c in chunk.choices])


async def test_streams_text_and_usage() -> None:
    async with talking(ScriptedAnswer(text="a b c")) as (model, server):
        chunks = [chunk async for chunk in model.stream(ask())]
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == "a b c"
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert server.requests[0]["stream_options"] == {"include_usage": True}


async def test_streams_tool_calls_in_pieces() -> None:
    call = {"name": "add", "arguments": '{"a": 1, "b": 2}'}
    async with talking(ScriptedAnswer(calls=[call])) as (model, _):
        chunks = [chunk async for chunk in model.stream(ask(tools=[TOOL]))]
    deltas = [d for chunk in chunks for c in chunk.choices for d in c.delta.tool_calls or []]
    assert [d.function.name for d in deltas if d.function.name] == ["add"]
    assert json.loads("".join(d.function.arguments or "" for d in deltas)) == {"a": 1, "b": 2}
    assert {d.index for d in deltas} == {0}


async def test_completes_with_calls() -> None:
    async with talking(ScriptedAnswer(text="so", calls=[{"name": "add", "arguments": "{}"}])) as (model, _):
        answer = await completed(model.stream(ask(tools=[TOOL])))
    message = answer.choices[0].message
    assert (message.content, answer.choices[0].finish_reason) == ("so", "tool_calls")
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.name == "add"
    assert answer.flightloop is None


async def test_sends_only_what_openai_knows() -> None:
    request = ask(flightloop={"priority": "batch", "epoch": 3}, logprobs=True, top_logprobs=2, tool_choice="auto")
    async with talking(name="real", api_key="secret") as (model, server):
        await completed(model.stream(request))
    sent = server.requests[0]
    assert sent["model"] == "real"
    assert set(sent) == {"model", "messages", "top_p", "stream", "stream_options"}
    assert server.headers[0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize("own", [True, False])
async def test_only_a_platform_of_ones_own_gets_the_level_and_is_believed(own: bool) -> None:
    delta = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "add", "arguments": "{}"}}]}
    told = {"confidence": 0.42, "interrupted": True, "ttft_seconds": 9.0}
    last = {"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}], "flightloop": told}
    scripted = ScriptedAnswer(chunks=[json.dumps(last)])
    async with talking(scripted, own=own) as (model, server):
        answer = await completed(model.stream(ask(tools=[TOOL], flightloop={"call_confidence": 0.03, "epoch": 3})))
    assert server.requests[0].get("flightloop") == ({"call_confidence": 0.03} if own else None)
    found = answer.flightloop.model_dump(exclude_defaults=True) if answer.flightloop else None
    assert found == ({"confidence": 0.42} if own else None)


@pytest.mark.parametrize("strict", [True, False])
async def test_marks_schemas_strict_where_the_server_honours_it(strict: bool) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {"type": "object"}}}
    async with talking(strict_schemas=strict) as (model, server):
        await completed(model.stream(ask(tools=[TOOL], response_format=schema)))
        assert model.capabilities.json_schema is strict
    sent = server.requests[0]
    assert sent["tools"][0]["function"].get("strict") is (True if strict else None)
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert sent["response_format"]["json_schema"].get("strict") is (True if strict else None)


async def test_a_plan_of_an_earlier_step_is_told_in_words() -> None:
    plan = {"role": "assistant", "name": "plan", "content": '{"goal": "Find it.", "tools": ["find", "track"]}'}
    strange = {"role": "assistant", "name": "plan", "content": "no JSON"}
    async with talking() as (model, server):
        await completed(model.stream(ask(messages=[{"role": "user", "content": "go"}, plan, strange])))
    assert [message["content"] for message in server.requests[0]["messages"][1:]] == [
        "My plan: Find it (with find, track).",
        "no JSON",
    ]


async def test_a_turn_of_calls_alone_keeps_its_empty_content() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ]
    async with talking() as (model, server):
        await completed(model.stream(ask(messages=history)))
    assert server.requests[0]["messages"][1] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert server.requests[0]["messages"][2]["tool_call_id"] == "c1"


@pytest.mark.parametrize(
    ("written", "sent"),
    [('{"a":  1}', '{"a":  1}'), ("", "{}"), ("{a: 1", '{"unparsed": "{a: 1"}'), ("[1]", '{"unparsed": "[1]"}')],
)
async def test_arguments_of_earlier_calls_go_out_as_objects(written: str, sent: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": written}}
    async with talking() as (model, server):
        await completed(model.stream(ask(messages=[{"role": "assistant", "tool_calls": [call]}])))
    assert server.requests[0]["messages"][0]["tool_calls"][0]["function"]["arguments"] == sent


async def test_refuses_parts_the_model_cannot_take() -> None:
    table = {"type": "table", "table": {"columns": ["a"], "rows": [[1]]}}
    async with talking() as (model, server):
        with pytest.raises(UnsupportedContent, match="takes no table parts") as caught:
            await completed(model.stream(ask(messages=[{"role": "user", "content": [table]}])))
    assert caught.value.param == "messages[0].content"
    assert not server.requests


@pytest.mark.parametrize(
    ("answer", "kind", "after"),
    [
        (
            ScriptedAnswer(status=429, body={"error": {"message": "busy"}}, headers={"retry-after": "7"}),
            Overloaded,
            7.0,
        ),
        (ScriptedAnswer(status=502, body={"error": {"message": "down"}}), ModelUnavailable, None),
        (ScriptedAnswer(status=500, body="no JSON error"), ModelUnavailable, None),
    ],
)
async def test_errors_that_another_try_may_help_are_told_as_such(
    answer: ScriptedAnswer, kind: type[FlightloopError], after: float | None
) -> None:
    async with talking(answer, ScriptedAnswer(text="not asked for")) as (model, server):
        with pytest.raises(kind) as caught:
            await text_of(model, ask())
    assert (caught.value.retryable, caught.value.retry_after) == (True, after)
    assert len(server.requests) == 1


async def test_an_error_names_the_server_without_its_password() -> None:
    model = RemoteChatModel(RemoteConfig("http://bob:s3cret@127.0.0.1:1/v1"))
    with pytest.raises(ModelUnavailable) as caught:
        await text_of(model, ask())
    await model.close()
    assert "http://127.0.0.1:1/v1" in caught.value.message
    assert "s3cret" not in caught.value.message


async def test_no_server_is_unavailable() -> None:
    model = RemoteChatModel(RemoteConfig("http://127.0.0.1:1/v1"))
    with pytest.raises(ModelUnavailable, match=r"127\.0\.0\.1:1"):
        await text_of(model, ask())
    await model.close()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "bad", "code": None, "param": "top_p"}}, InvalidRequest),
        (400, {"error": {"message": "This model's maximum context length is 8 tokens"}}, ContextTooLong),
        (400, {"error": {"message": "too much", "code": "context_length_exceeded"}}, ContextTooLong),
        (401, {"error": {"message": "no"}}, ConfigError),
        (404, {"error": {"message": "no model"}}, ConfigError),
        (423, {"error": {"message": "interrupt int_1 stops everything", "code": "interrupted"}}, Interrupted),
    ],
)
async def test_errors_that_no_retry_helps(status: int, body: Any, kind: type[Exception]) -> None:
    async with talking(ScriptedAnswer(status=status, body=body), name="m") as (model, server):
        with pytest.raises(kind) as caught:
            await text_of(model, ask())
    assert type(caught.value) is kind
    assert len(server.requests) == 1


async def test_an_error_in_the_middle_is_not_tried_again() -> None:
    begun = json.dumps({"choices": [{"index": 0, "delta": {"content": "half"}}]})
    error = json.dumps({"error": {"message": "worker died", "code": "model_unavailable"}})
    async with talking(ScriptedAnswer(chunks=[begun, error])) as (model, server):
        stream = model.stream(ask())
        assert (await anext(stream)).choices[0].delta.content == "half"
        with pytest.raises(ModelUnavailable, match="failed"):
            await anext(stream)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "ending",
    [ScriptedAnswer(chunks=['{"choices": [{"delta": {"content": "half"}}]}'], done=done, cut=cut)
     for done, cut in [(True, False), (False, False), (False, True)]],
)  # fmt: skip
async def test_a_stream_that_ends_early_is_an_error(ending: ScriptedAnswer) -> None:
    async with talking(ending) as (model, _):
        with pytest.raises(ModelUnavailable):
            await text_of(model, ask())


@pytest.mark.parametrize("document", ["nonsense", '{"choices": [{"delta": {"content": {"no": "text"}}}]}', "[1]"])
async def test_what_is_no_chunk_is_an_error(document: str) -> None:
    async with talking(ScriptedAnswer(chunks=[document])) as (model, _):
        with pytest.raises(ModelUnavailable, match="invalid chat chunk"):
            await text_of(model, ask())


async def test_takes_the_dialects_of_other_servers() -> None:
    call = {"function": {"name": "add", "arguments": {"a": 1}}}
    documents = [
        {"choices": [{"delta": {"role": "model", "content": None, "tool_calls": [call, call]}, "logprobs": None}]},
        {"choices": [{"delta": {}, "finish_reason": "eos"}], "usage": {"prompt_tokens": None, "completion_tokens": 2}},
    ]
    async with talking(ScriptedAnswer(chunks=[json.dumps(item) for item in documents])) as (model, _):
        chunks = [chunk async for chunk in model.stream(ask(tools=[TOOL]))]
    deltas = chunks[0].choices[0].delta.tool_calls or []
    assert [d.index for d in deltas] == [0, 1]
    assert len({d.id for d in deltas}) == 2
    assert deltas[0].function.arguments == '{"a": 1}'
    assert chunks[1].choices[0].finish_reason == "tool_calls"
    assert chunks[0].id == chunks[1].id


async def test_closing_the_stream_ends_the_request() -> None:
    async with talking(ScriptedAnswer(text="one two three")) as (model, _):
        stream = model.stream(ask())
        await anext(stream)
        await stream.aclose()
        assert await text_of(model, ask()) == "one two three"


async def test_separators_inside_a_text_end_no_line() -> None:
    said = "one\u2028two\u0085three\x0bfour"
    document = json.dumps({"choices": [{"delta": {"content": said}, "finish_reason": "stop"}]}, ensure_ascii=False)
    async with talking(ScriptedAnswer(chunks=[document])) as (model, _):
        assert await text_of(model, ask()) == said


async def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.models.remote.MOST_BYTES", 10_000)
    for chunk in ('{"choices": [{"delta": {"content": "more "}}]}', "x" * 20_000):
        async with talking(ScriptedAnswer(chunks=[chunk] * 1000)) as (model, _):
            with pytest.raises(ModelUnavailable, match=r"exceeds|invalid chat chunk"):
                await text_of(model, ask())


async def test_an_error_without_end_is_told_by_its_beginning() -> None:
    async with talking(ScriptedAnswer(status=500, body="x" * 1_000_000)) as (model, _):
        with pytest.raises(ModelUnavailable):
            await text_of(model, ask())


async def test_lists_models() -> None:
    async with talking(models=("a", "b")) as (model, _):
        assert [card.id for card in await model.models()] == ["a", "b"]
    async with talking(models=("a", "b"), name="c") as (model, _):
        assert [card.id for card in await model.models()] == ["c"]


@pytest.mark.parametrize("listed", ['{"data": [{"object": "model"}]}', '{"data": [{"id": []}]}', '{"data": 1}', "[]"])
async def test_an_invalid_list_of_models_is_the_servers_fault(listed: str) -> None:
    answering = httpx.MockTransport(lambda request: httpx.Response(200, text=listed))
    model = RemoteChatModel(RemoteConfig("http://model"), httpx.AsyncClient(transport=answering))
    with pytest.raises(ModelUnavailable, match="invalid list of models"):
        await model.models()
    await model.close()


@pytest.mark.parametrize(
    ("given", "base"),
    [("http://h:1", "http://h:1/v1"), ("http://h/", "http://h/v1"), ("https://h/openai/v1/", "https://h/openai/v1")],
)
def test_base_url(given: str, base: str) -> None:
    assert base_url(given) == base


def test_needs_neither_torch_nor_ray() -> None:
    code = "import agent.models.remote, agent.api, agent.api.app, sys; print(*{'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_messages_go_out_as_plain_text() -> None:
    assert ChatMessage.model_validate({"role": "user", "content": "x"}).model_dump()["content"] == "x"
