"""Arguments of a completion's calls are checked against the schemas that the caller declared."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from agent.api import create_app
from agent.testing.api import KEY, Said, ScriptedChat, api_deps

TAGS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
SCHEMA = {"type": "object", "properties": {"tags": TAGS}, "required": ["tags"], "not": {"required": ["other"]}}
GOOD, TWICE, OTHER = '{"tags": ["a", "b"]}', '{"tags": ["a", "a"]}', '{"tags": [], "other": 1}'


async def asked(*said: Said, schema: dict[str, Any] = SCHEMA, **fields: Any) -> tuple[httpx.Response, ScriptedChat]:
    function = {"name": "add", "parameters": schema, **fields}
    body = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "hello"}],
        "tools": [{"type": "function", "function": function}],
    }
    deps = api_deps(*said)
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert isinstance(deps.model, ScriptedChat)
    return answer, deps.model


def arguments_of(answer: httpx.Response) -> list[Any]:
    calls = answer.json()["choices"][0]["message"].get("tool_calls", [])
    return [json.loads(call["function"]["arguments"]) for call in calls]


@pytest.mark.parametrize(("wrong", "reason"), [(TWICE, "non-unique"), (OTHER, "should not be valid")])
async def test_a_model_whose_arguments_break_the_schema_is_asked_again(wrong: str, reason: str) -> None:
    answer, model = await asked(Said(calls=[("add", wrong)]), Said(calls=[("add", GOOD)]))
    assert answer.status_code == 200, answer.text
    assert arguments_of(answer) == [{"tags": ["a", "b"]}]
    told = model.requests[1].messages[-1].text
    assert "add with wrong arguments" in told
    assert reason in told


async def test_a_call_that_stays_wrong_leaves_as_the_model_made_it() -> None:
    answer, model = await asked(Said(calls=[("add", TWICE)]))
    assert (answer.status_code, arguments_of(answer)) == (200, [json.loads(TWICE)])
    assert len(model.requests) == 2


async def test_a_call_of_a_strict_tool_that_stays_wrong_never_leaves() -> None:
    simple = {"type": "object", "properties": {"tags": {"type": "string"}}, "required": ["tags"]}
    simple["additionalProperties"] = False
    answer, model = await asked(Said(calls=[("add", GOOD), ("add", TWICE)]), schema=simple, strict=True)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "invalid_call")
    assert "add with wrong arguments" in error["message"]
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("schema", "strict", "call"),
    [
        (SCHEMA, None, GOOD),
        (SCHEMA, False, TWICE),  # who says so checks the arguments himself
        ({"type": "object", "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}, None, '{"a": 1}'),
    ],
)
async def test_other_calls_leave_at_once(schema: dict[str, Any], strict: bool | None, call: str) -> None:
    """The last schema is of JSON Schema's fourth draft: it can't be read as 2020-12."""
    answer, model = await asked(Said(calls=[("add", call)]), schema=schema, strict=strict)
    assert arguments_of(answer) == [json.loads(call)]
    assert len(model.requests) == 1
