"""What widely used clients send beyond the plain request, and what they look for in an answer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.models.chat_model import Capabilities
from agent.run.budgets import TenantBudgets
from agent.testing.api import KEY, Said, ScriptedChat, api_deps
from flightloop.errors import InvalidRequest, Overloaded
from flightloop.runs import Budget

ADD = {"type": "function", "function": {"name": "add"}}
PAY = {"type": "function", "function": {"name": "pay"}}
CHAT: dict[str, Any] = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
RESPONSE = {"model": "scripted", "input": "hello"}


async def send(deps: ApiDeps, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        return await client.request(method, path, json=body)


async def chat(deps: ApiDeps, **fields: Any) -> httpx.Response:
    return await send(deps, "POST", "/v1/chat/completions", CHAT | fields)


async def respond(deps: ApiDeps, **fields: Any) -> httpx.Response:
    return await send(deps, "POST", "/v1/responses", RESPONSE | fields)


def offered(deps: ApiDeps) -> tuple[list[str], Any]:
    assert isinstance(deps.model, ScriptedChat)
    request = deps.model.requests[-1]
    return [tool.function.name for tool in request.tools or []], request.tool_choice


async def test_a_model_is_told_by_its_name() -> None:
    found = await send(api_deps(), "GET", "/v1/models/scripted")
    assert (found.status_code, found.json()["id"], found.json()["object"]) == (200, "scripted", "model")
    missing = await send(api_deps(), "GET", "/v1/models/org/other")
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "model")
    assert "scripted" in missing.json()["error"]["message"]


NULLABLE = {
    "/v1/chat/completions": """
        frequency_penalty logit_bias logprobs max_completion_tokens max_tokens metadata modalities n parallel_tool_calls
        prediction presence_penalty reasoning_effort response_format seed service_tier stop store stream stream_options
        temperature tool_choice tools top_logprobs top_p user verbosity
    """,
    "/v1/responses": """
        background conversation include instructions max_output_tokens max_tool_calls metadata parallel_tool_calls
        previous_response_id prompt reasoning service_tier store stream stream_options temperature text tool_choice
        tools top_logprobs top_p truncation user
    """,
}


@pytest.mark.parametrize(("path", "field"), [(path, one) for path, names in NULLABLE.items() for one in names.split()])
async def test_null_is_as_good_as_left_out(path: str, field: str) -> None:
    body = CHAT if path.endswith("completions") else RESPONSE
    answer = await send(api_deps(), "POST", path, {**body, field: None})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "fields",
    [
        {"stream_options": {"include_usage": None}},
        {"tools": [{"type": "function", "function": {"name": "add", "description": None, "parameters": None}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": None}}},
        {"messages": [{"role": "user", "content": "x", "name": None, "tool_calls": None}]},
    ],
)
async def test_null_inside_a_field_is_as_good_as_left_out(fields: dict[str, Any]) -> None:
    assert (await chat(api_deps(), **fields)).status_code == 200


async def test_a_refusal_of_an_earlier_answer_is_text() -> None:
    deps = api_deps()
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot say that."}]}
    assert (await chat(deps, messages=[*CHAT["messages"], said])).status_code == 200
    assert isinstance(deps.model, ScriptedChat)
    assert deps.model.requests[0].messages[1].text == "I cannot say that."


@pytest.mark.parametrize("arguments", ["{a: 1", "[1]", "three"])
async def test_a_call_whose_arguments_are_no_json_may_be_sent_again(arguments: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": arguments}}
    result = {"role": "tool", "tool_call_id": "c", "content": "not JSON"}
    history = [*CHAT["messages"], {"role": "assistant", "tool_calls": [call]}, result]
    assert (await chat(api_deps(), messages=history, tools=[ADD])).status_code == 200
    items = [
        {"role": "user", "content": "hello"},
        {"type": "function_call", "call_id": "c", "name": "add", "arguments": arguments},
        {"type": "function_call_output", "call_id": "c", "output": "not JSON"},
    ]
    assert (await respond(api_deps(), input=items)).status_code == 200


async def test_a_result_without_its_call_is_refused() -> None:
    """As OpenAI does: a client that lost the call would have the model read a result of nothing."""
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c", "content": "5"}
    asked = CHAT["messages"]
    for messages in (
        [*asked, result],
        [*asked, result, {"role": "assistant", "tool_calls": [call]}],
        [*asked, {"role": "assistant", "tool_calls": [call]}, {**result, "tool_call_id": "d"}],
        [*asked, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "5"}],
    ):
        refused = await chat(api_deps(), messages=messages, tools=[ADD])
        at = next(at for at, message in enumerate(messages) if message["role"] == "tool")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, f"messages[{at}].tool_call_id")
    assert (await chat(api_deps(), messages=[*asked, {"role": "assistant", "tool_calls": [call]}, result])).is_success


async def test_each_call_of_a_stream_has_a_chunk_of_its_own() -> None:
    """LlamaIndex reads only the first call of a chunk."""
    deps = api_deps(Said("so", calls=[("add", '{"a":1}'), ("add", '{"a":2}'), ("pay", '{"amount": 7}')]))
    streamed = await chat(deps, tools=[ADD, PAY], stream=True)
    chunks = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    deltas = [
        choice["delta"]["tool_calls"]
        for chunk in chunks
        for choice in chunk["choices"]
        if "tool_calls" in choice["delta"]
    ]
    assert [[call["index"] for call in calls] for calls in deltas] == [[0], [1], [2]]
    assert len({calls[0]["id"] for calls in deltas}) == 3


MESSAGES = [{"role": "user", "content": "hello"}, {"role": "user", "content": "the forbidden word"}]
DANGLING = {"type": "object", "properties": {"x": {"$ref": "#/nope"}}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"role": "nobody", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": MESSAGES}, "input[1].content"),
        ({"input": MESSAGES, "instructions": "Be kind."}, "input[1].content"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "word " * 1000}]},
            "input",
        ),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "5"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function", "name": "ab", "parameters": DANGLING}]}, "tools[0].parameters"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": DANGLING}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
async def test_an_error_names_the_field_that_the_caller_wrote(fields: dict[str, Any], param: str) -> None:
    refused = await respond(api_deps(), **fields)
    error = refused.json()["error"]
    assert (refused.status_code in (400, 422), error["param"]) == (True, param), error
    assert "messages" not in error["message"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("named", "own"),
    [
        ("messages[1].content[0]", "input[0].content[0]"),
        ("messages[0]", "instructions"),
        ("messages", "input"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("tools[3].function.parameters", "tools[3].parameters"),
    ],
)
async def test_what_the_model_refuses_is_named_as_the_caller_knows_it(named: str, own: str, stream: bool) -> None:
    deps = api_deps(Said(error=InvalidRequest(f"{named}: is too much of messages", param=named)))
    error = (await respond(deps, instructions="Be kind.", stream=stream)).json()["error"]
    assert (error["param"], error["message"]) == (own, f"{own}: is too much of messages")


@pytest.mark.parametrize("mode", ["auto", "required"])
async def test_allowed_tools_are_offered_alone(mode: str) -> None:
    deps = api_deps(Said(calls=[("add", "{}")]))
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [ADD]}}
    assert (await chat(deps, tools=[PAY, ADD], tool_choice=choice)).status_code == 200
    assert offered(deps) == (["add"], mode)
    deps = api_deps(Said(calls=[("add", "{}")]))
    tools = [{"type": "function", "name": name} for name in ("pay", "add")]
    choice = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "add"}]}
    answer = await respond(deps, tools=tools, tool_choice=choice)
    assert offered(deps) == (["add"], mode)
    assert answer.json()["tool_choice"] == choice


async def test_an_allowed_tool_that_is_not_there_is_refused() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [ADD]}}
    refused = await chat(api_deps(), tools=[PAY], tool_choice=choice)
    assert (refused.status_code, refused.json()["error"]["param"].split(".")[0]) == (400, "tool_choice")
    assert "add" in refused.json()["error"]["message"]
    tools = [{"type": "function", "name": "pay"}]
    chosen = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]}
    refused = await respond(api_deps(), tools=tools, tool_choice=chosen)
    assert (refused.status_code, refused.json()["error"]["param"].split(".")[0]) == (400, "tool_choice")


@pytest.mark.parametrize("choice", ["some", {"type": "custom", "custom": {"name": "x"}}, 7])
async def test_other_choices_are_refused_by_name(choice: Any) -> None:
    refused = await chat(api_deps(), tools=[ADD], tool_choice=choice)
    assert (refused.status_code, refused.json()["error"]["param"].split(".")[0]) == (400, "tool_choice")


async def test_a_context_that_is_too_long_is_told_in_the_words_that_clients_look_for() -> None:
    deps = api_deps(model=ScriptedChat([Said("ok")], Capabilities(context_length=100)))
    refused = await chat(deps, messages=[{"role": "user", "content": "word " * 1000}])
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
    assert "this model's maximum context length is 100 tokens" in error["message"]


async def test_too_much_at_once_and_too_little_left_are_different_kinds() -> None:
    full = await chat(api_deps(Said(error=Overloaded("full"))))
    assert (full.status_code, full.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "x-should-retry" not in full.headers
    spent = await chat(api_deps(tenants=TenantBudgets(Budget(tokens=1))))
    assert (spent.status_code, spent.json()["error"]["type"]) == (429, "insufficient_quota")
    assert spent.headers["x-should-retry"] == "false"
