"""What clients of the field send beyond the plain request, and what they look for in an answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agent.api import ApiDeps, create_app
from agent.budgets import TenantBudgets
from agent.chat_model import Capabilities
from agent.fakes_api import KEY, Said, ScriptedChat, api_deps
from flightloop.errors import Overloaded
from flightloop.runs import Budget

ADD = {"type": "function", "function": {"name": "add"}}
PAY = {"type": "function", "function": {"name": "pay"}}
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
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


@pytest.mark.parametrize("field", ["logprobs", "top_logprobs", "stream", "temperature", "n", "stop", "tools", "seed"])
async def test_null_is_as_good_as_left_out(field: str) -> None:
    assert (await chat(api_deps(), **{field: None})).status_code == 200


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
