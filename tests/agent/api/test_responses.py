from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from agent.api import ApiDeps, create_app
from agent.serve.http_server import running
from agent.testing.api import KEY, Said, ScriptedChat, api_deps
from flightloop.errors import ModelUnavailable, Overloaded
from flightloop.sse import SSEDecoder

PAY_SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}}}
ADD = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}, "strict": None}
PAY = {"type": "function", "name": "pay", "parameters": PAY_SCHEMA, "strict": True}


async def ask(deps: ApiDeps, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {KEY}", **(headers or {})}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        return await client.post("/v1/responses", json={"model": "scripted", "input": "hello", **fields})


async def streamed(deps: ApiDeps, **fields: Any) -> list[dict[str, Any]]:
    answer = await ask(deps, stream=True, **fields)
    assert answer.status_code == 200, answer.text
    events = list(SSEDecoder().push(answer.content))
    documents = [json.loads(event.data) for event in events]
    assert [event.event for event in events] == [document["type"] for document in documents]
    assert [document["sequence_number"] for document in documents] == list(range(len(documents)))
    return documents


def model_of(deps: ApiDeps) -> ScriptedChat:
    assert isinstance(deps.model, ScriptedChat)
    return deps.model


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


async def test_the_official_client_creates_and_streams() -> None:
    deps = api_deps(Said("hello there"))
    async with running(create_app(deps)) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        answer = await client.responses.create(
            model="scripted", instructions="Be kind.", input="hello", metadata={"a": "b"}
        )
        async with client.responses.stream(model="scripted", input="hello") as events:
            kinds = [event.type async for event in events]
            told = await events.get_final_response()
        with pytest.raises(openai.NotFoundError, match="known: scripted"):
            await client.responses.create(model="gpt-9", input="hello")
        await client.close()
    assert answer.output_text == told.output_text == "hello there"
    assert (answer.status, answer.store, answer.metadata) == ("completed", False, {"a": "b"})  # type: ignore[attr-defined]
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (3, 2, 5)
    assert [(message.role, message.text) for message in model_of(deps).requests[0].messages] == [
        ("system", "Be kind."),
        ("user", "hello"),
    ]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_official_client_gets_calls_and_sends_their_results(stream: bool) -> None:
    deps = api_deps(Said("so", calls=[("add", '{"a":1}'), ("pay", '{"amount": 7}')]), Said("done"))
    async with running(create_app(deps)) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        asked: Any = {"model": "scripted", "tools": [ADD, PAY]}
        if stream:
            async with client.responses.stream(input="hello", **asked) as events:
                first = await events.get_final_response()
        else:
            first = await client.responses.create(input="hello", **asked)
        items: list[Any] = [{"role": "user", "content": "hello"}, *first.output]
        calls = [item for item in first.output if item.type == "function_call"]
        items += [{"type": "function_call_output", "call_id": call.call_id, "output": "1"} for call in calls]
        second = await client.responses.create(input=items, **asked)
        await client.close()
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("add", {"a": 1}), ("pay", {"amount": 7})]
    assert len({call.call_id for call in calls}) == 2
    assert second.output_text == "done"
    user, said, *results = model_of(deps).requests[1].messages
    assert (user.role, said.role, said.text) == ("user", "assistant", "so")
    assert [call.id for call in said.tool_calls or []] == [result.tool_call_id for result in results]
    offered = model_of(deps).requests[0].tools or []
    assert offered[1].function.parameters["properties"]["amount"]["maximum"] == 100  # the policy narrows


async def test_the_events_of_a_call() -> None:
    events = await streamed(api_deps(Said(calls=[("pay", '{"amount": 7}')])), tools=[PAY])
    kinds = [event["type"] for event in events]
    assert kinds[2:] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert (events[2]["item"]["arguments"], events[2]["item"]["status"]) == ("", "in_progress")
    assert events[4]["arguments"] == '{"amount": 7}'
    assert events[-1]["response"]["output"] == [events[-2]["item"]]
    assert {event["item_id"] for event in events if "item_id" in event} == {events[2]["item"]["id"]}


async def test_a_part_is_empty_before_its_deltas() -> None:
    events = await streamed(api_deps(Said("one two"), streaming="live"))
    part = next(event["part"] for event in events if event["type"] == "response.content_part.added")
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert (part["text"], "".join(deltas)) == ("", "one two")


class Weather(BaseModel):
    city: str


async def test_the_answers_form() -> None:
    deps = api_deps(Said('{"city":"Bonn"}'))
    async with running(create_app(deps)) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        answer = await client.responses.parse(model="scripted", input="hello", text_format=Weather)
        await client.close()
    assert answer.output_parsed == Weather(city="Bonn")
    wanted = model_of(deps).requests[0].response_format
    assert wanted is not None
    assert wanted.json_schema is not None
    assert wanted.json_schema.schema_["properties"]["city"]["type"] == "string"
    await ask(deps, text={"format": {"type": "json_object"}}, max_output_tokens=9, temperature=0, top_p=0.5)
    sent = model_of(deps).requests[1]
    assert sent.response_format is not None
    assert (sent.response_format.type, sent.token_limit, sent.temperature, sent.top_p) == ("json_object", 9, 0, 0.5)


async def test_log_probabilities_when_they_are_asked_for() -> None:
    include = ["message.output_text.logprobs"]
    events = await streamed(api_deps(Said("all is well", logprobs=True)), include=include)
    done = next(event for event in events if event["type"] == "response.output_text.done")
    assert [token["token"] for token in done["logprobs"]] == ["all", " is", " well"]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the conversation's items"),
        ({"conversation": "conv_1"}, "conversation", "not stored"),
        ({"store": True}, "store", "not stored"),
        ({"background": True}, "background", "/v1/runs"),
        ({"prompt": {"id": "p"}}, "prompt", "instructions"),
        ({"truncation": "auto"}, "truncation", "fewer items"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "only tools of type 'function'"),
        ({"tools": [ADD, ADD]}, "tools", "same name"),
        ({"tool_choice": "required"}, "tool_choice", "needs tools"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice", "function"),
        ({"input": []}, "input", "at least 1"),
        ({"input": " "}, "input", "empty"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "function_call_output"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]", "input_text"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "missing"),
        ({"max_output_tokens": 0}, "max_output_tokens", "greater than or equal to 1"),
        ({"metadata": {"a": 1}}, "metadata.a", "string"),
    ],
)
async def test_what_is_not_served_is_named(fields: dict[str, Any], param: str, says: str) -> None:
    answer = await ask(api_deps(), **fields)
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"] or "").startswith(param)
    assert says in answer.json()["error"]["message"]


async def test_harmless_fields_pass() -> None:
    harmless = {"store": False, "background": False, "truncation": "disabled", "previous_response_id": None}
    hints = {"reasoning": {"effort": "low"}, "service_tier": "auto", "text": {"verbosity": "low"}, "include": None}
    answer = await ask(api_deps(), **harmless, **hints)
    assert answer.status_code == 200, answer.text
    assert answer.json()["store"] is False


async def test_a_refused_item_is_named_as_the_caller_knows_it() -> None:
    deps = api_deps()
    items = [{"role": "user", "content": "hello"}, {"role": "user", "content": "the forbidden word"}]
    answer = await ask(deps, instructions="Be kind.", input=items)
    assert error_of(answer) == (422, "guardrail_blocked", "input[1].content")
    assert answer.json()["error"]["message"].startswith("input[1]: refused by the policy")
    assert not model_of(deps).requests
    assert any(record.verdict.action == "block" for record in await deps.journal.audit("default"))


@pytest.mark.parametrize("streaming", ["held", "live"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_blocked_answer_is_incomplete(streaming: str, stream: bool) -> None:
    deps = api_deps(Said("this is classified stuff"), streaming=streaming)
    answer = (await streamed(deps))[-1]["response"] if stream else (await ask(deps)).json()
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    text = answer["output"][0]["content"][0]["text"].strip()
    assert text == ("I cannot say that." if streaming == "held" else "this is")


async def test_a_forbidden_call_is_withheld() -> None:
    answer = (await ask(api_deps(Said(calls=[("pay", '{"amount": 5000}')])), tools=[ADD, PAY])).json()
    assert [item["type"] for item in answer["output"]] == ["message"]
    assert answer["incomplete_details"] == {"reason": "content_filter"}


@pytest.mark.parametrize("stream", [True, False])
async def test_errors_before_the_first_token_are_statuses(stream: bool) -> None:
    answer = await ask(api_deps(Said(error=Overloaded("full", retry_after=3))), stream=stream)
    assert error_of(answer)[:2] == (429, "overloaded")
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("error", [ModelUnavailable("gone"), RuntimeError("secret")])
async def test_an_error_in_the_middle_fails_the_response(error: Exception) -> None:
    events = await streamed(api_deps(Said("one two", error=error), streaming="live"))
    assert "secret" not in str(events)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["status"] == "failed"
    code = "model_unavailable" if "gone" in str(error) else "internal_error"
    assert events[-1]["response"]["error"]["code"] == code


@pytest.mark.parametrize("stream", [True, False])
async def test_the_emergency_stop_reaches_responses(stream: bool) -> None:
    deps = api_deps(Said("one two", gate=asyncio.Event()))  # never set: only the interrupt can end the answer
    asking = asyncio.create_task(ask(deps, {"x-flightloop-agent": "a"}, stream=stream))
    await model_of(deps).asked.wait()
    await deps.journal.raise_interrupt("default", "agent", "a")
    answer = await asking
    if stream:
        last = list(SSEDecoder().push(answer.content))[-1]
        assert (last.event, json.loads(last.data)["response"]["error"]["code"]) == ("response.failed", "interrupted")
    else:
        assert error_of(answer)[:2] == (423, "interrupted")
    assert model_of(deps).cut.is_set()
    assert error_of(await ask(deps, {"x-flightloop-agent": "a"}))[:2] == (423, "interrupted")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_cancels_the_decoding(stream: bool) -> None:
    deps = api_deps(Said("one two", gate=asyncio.Event()))
    async with running(create_app(deps)) as url, httpx.AsyncClient(base_url=url) as client:
        body = {"model": "scripted", "input": "hello", "stream": stream}
        headers = {"authorization": f"Bearer {KEY}"}
        asking = asyncio.create_task(client.post("/v1/responses", json=body, headers=headers))
        await model_of(deps).asked.wait()
        asking.cancel()
        await asyncio.wait({asking})
        async with asyncio.timeout(10):
            await model_of(deps).cut.wait()
