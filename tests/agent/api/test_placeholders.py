"""Personal data hidden from the model in both completion protocols."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.api import ApiDeps
from agent.testing.api import FixedCatalogue, Said, api_deps
from guardrails.guard import Guard
from guardrails.policy import parse_policy, unhurried
from tests.agent.api.test_chat import ask, calling, model_of, streamed, text_of

POLICY = """\
name: default
version: "1"
streaming: {streaming}
stages: {{input: {{rails: []}}, tool_result: {{rails: []}}, stream: {{rails: []}}, final: {{rails: []}}}}
tools: {{allow: {{"*": ["*"]}}, provenance: allow}}
egress: {{hosts: [], contacts: allow, contacts_from: [user, results]}}
placeholders: {{kinds: [email], tools: {{send: [to]}}}}
"""
ADA, BOB = "ada@example.org", "bob@example.com"
TO = {"type": "object", "properties": {"to": {"type": "string", "format": "email"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": TO}} for name in ("send", "other")]
SAID: list[dict[str, Any]] = [
    {"role": "system", "content": "Complaints go to help@shop.example."},
    {"role": "user", "content": f"Write to {ADA}."},
    {"role": "assistant", "content": f"To {ADA}?"},
    {"role": "user", "content": f"And to {BOB}, who says [EMAIL_1]."},
]


def deps_of(*answers: Said, streaming: str = "live") -> ApiDeps:
    policy = parse_policy(POLICY.format(streaming=streaming))
    deps = api_deps(*answers, catalogue=FixedCatalogue(policy, Guard(unhurried(policy))))
    deps.model.capabilities = type(deps.model.capabilities)(context_length=1000)
    return deps


@pytest.mark.parametrize("streaming", ["live", "held"])
async def test_the_caller_reads_what_the_model_does_not(streaming: str) -> None:
    deps = deps_of(Said("I write to [EMAIL_2] and [EMA IL_1] and [EMAIL_1] now."), streaming=streaming)
    chunks = await streamed(deps, messages=SAID)
    assert text_of(chunks) == f"I write to {BOB} and [EMA IL_1] and {ADA} now."
    sent = [message.text for message in model_of(deps).requests[0].messages]
    assert sent[1:] == ["Write to [EMAIL_1].", "To [EMAIL_1]?", "And to [EMAIL_2], who says [TEXT_1]."]
    assert sent[0].startswith("Complaints go to [EMAIL_A].\n")


async def test_only_named_arguments_get_real_values() -> None:
    deps = deps_of(Said(calls=[("send", '{"to": "[EMAIL_1]"}')]))
    call = (await ask(deps, messages=SAID, tools=TOOLS)).json()["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"to": ADA}
    given = {tool.function.name: tool.function.parameters for tool in model_of(deps).requests[0].tools or []}
    assert given == {"send": {"type": "object", "properties": {"to": {"type": "string"}}}, "other": TO}
    for answer in ('{"to": "[EMAIL_1]"}', f'{{"to": "{ADA}"}}'):
        refused = await ask(deps_of(Said(calls=[("other", answer)])), messages=SAID, tools=TOOLS)
        assert refused.json()["choices"][0]["finish_reason"] == "content_filter"
        assert ADA not in refused.text


async def test_an_answer_in_json_stays_json() -> None:
    person = 'x" <ada@example.org>'
    deps = deps_of(Said('{"mail": "[EMAIL_1]"}'))
    form = {"type": "json_schema", "json_schema": {"schema": {"properties": {"mail": TO["properties"]["to"]}}}}
    messages = [{"role": "user", "content": f"Extract: {person}"}]
    answer = (await ask(deps, messages=messages, response_format=form)).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"mail": ADA}
    schema = model_of(deps).requests[0].response_format
    assert schema is not None
    assert schema.json_schema is not None
    assert schema.json_schema.schema_ == {"properties": {"mail": {"type": "string"}}}


async def test_responses_pass_the_same_way() -> None:
    deps = deps_of(Said("To [EMAIL_1]."))
    async with calling(deps) as client:
        body = {"model": "scripted", "input": f"Write to {ADA}."}
        answer = await client.post("/v1/responses", json=body)
    assert answer.json()["output"][0]["content"][0]["text"] == f"To {ADA}."
    assert ADA not in model_of(deps).requests[0].model_dump_json()


async def test_the_model_is_not_told_who_the_user_is() -> None:
    deps = deps_of(Said("ok"))
    await ask(deps, user=ADA, stop=[ADA])
    request = model_of(deps).requests[0]
    assert (request.user, request.stop) == (None, ["[EMAIL_1]"])
