"""Answers and bodies with numbers that not every reader keeps, and with indexes that nobody has room for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.models.answer_chunks import calls, text
from agent.models.remote import RemoteChatModel, RemoteConfig
from agent.testing.api import api_deps
from agent.testing.model_server import ScriptedAnswer, ScriptedServer
from flightloop.chat import ChatRequest, FunctionCall
from flightloop.errors import ModelUnavailable
from flightloop.events import ToolIntent, ToolResult
from flightloop.limits import ANSWER_CALLS
from flightloop.tool import tool, tool_of
from flightloop.wellformed import LARGEST_INTEGER, finite, key_given_twice, unkept_number
from tests.agent.api.test_runs import calling
from tests.security.benches import bench

ASKING = "name: desk\nversion: '1'\ntools: {provenance: allow, allow: {helper: ['*']}, ask: [{tool: wire}]}\n"
ODD = ["Infinity", "-Infinity", "NaN", "1e999", "-1e999", str(LARGEST_INTEGER + 1), str(-(2**64)), "1" + "0" * 400]
DEEP = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
sent: list[Any] = []


@tool(effect="keyed")
def wire(amount: Any) -> str:
    """Sends money."""
    sent.append(amount)
    return "sent"


@tool(effect="pure")
def measure() -> Any:
    """Returns what it measured."""
    return {"mean": math.nan, "most": [math.inf, 1.5], "id": 2**60}


@pytest.mark.parametrize("number", ODD)
@pytest.mark.parametrize("place", ["{}", "[[{}]]", '{{"in": {}}}'])
async def test_numbers_that_a_person_would_see_as_others_are_refused(tmp_path: Path, number: str, place: str) -> None:
    sent.clear()
    asked = calls(("wire", f'{{"amount": {place.format(number)}}}'))
    desk = bench(tmp_path, asked, text("Sorry."), tools=[tool_of(wire)], policy=ASKING)
    run = await desk.work(await desk.start())
    assert (run.status, sent) == ("succeeded", [])
    assert (await desk.journal.approvals("default")).data == []
    (refused,) = [event for event in await desk.events(run) if isinstance(event, ToolResult)]
    assert "the arguments are not a JSON object" in refused.error


@pytest.mark.parametrize(
    "arguments",
    [
        '{"amount": 5000, "amount": 50}',
        '{"amount": 50, "Amount": 5000}',
        '{"in": [{"a": 1, "\\u0061": 2}], "amount": 1}',
    ],
)
async def test_a_key_given_twice_is_refused(tmp_path: Path, arguments: str) -> None:
    """Readers differ in which of the two counts, and some take upper and lower case as the same."""
    sent.clear()
    with pytest.raises(ValueError, match="twice"):
        FunctionCall(name="wire", arguments=arguments).parsed()
    desk = bench(tmp_path, calls(("wire", arguments)), text("Sorry."), tools=[tool_of(wire)], policy=ASKING)
    run = await desk.work(await desk.start())
    assert (run.status, sent) == ("succeeded", [])


@settings(deadline=None, database=None, max_examples=300)
@given(DEEP)
def test_what_is_parsed_is_read_alike_by_all(value: Any) -> None:
    call = FunctionCall(name="wire", arguments=json.dumps({"amount": value}))
    if key_given_twice(call.arguments) is not None:
        with pytest.raises(ValueError, match="twice"):
            call.parsed()
    elif unkept_number(value) is None:
        # JavaScript's reader, and the one of the journal
        assert json.loads(json.dumps(call.parsed()), parse_int=lambda digits: int(float(digits))) == {"amount": value}
        assert finite(value) == value
    else:
        with pytest.raises(ValueError, match=r"number|value"):
            call.parsed()
    json.dumps(finite(value), allow_nan=False)


@pytest.mark.parametrize("amount", [LARGEST_INTEGER, -LARGEST_INTEGER, 100.00000000000001, 1e300, 0.1])
async def test_what_is_approved_is_what_is_performed(tmp_path: Path, amount: float) -> None:
    sent.clear()
    desk = bench(tmp_path, calls(("wire", {"amount": amount})), text("Done."), tools=[tool_of(wire)], policy=ASKING)
    run = await desk.work(await desk.start())
    (approval,) = (await desk.journal.approvals("default", status="pending")).data
    shown = json.loads(approval.model_dump_json())["arguments"]["amount"]
    await desk.journal.decide("default", approval.id, "approve", "ann")
    run = await desk.work(run)
    (intent,) = [event for event in await desk.events(run) if isinstance(event, ToolIntent)]
    kept = json.loads(intent.model_dump_json())["arguments"]["amount"]
    assert [repr(each) for each in (shown, kept, *sent)] == [repr(amount)] * 3


async def test_a_result_is_kept_as_the_model_sees_it(tmp_path: Path) -> None:
    desk = bench(tmp_path, calls(("measure", {})), text("Done."), tools=[tool_of(measure)])
    run = await desk.work(await desk.start())
    (result,) = [event for event in await desk.events(run) if isinstance(event, ToolResult)]
    assert result.content == {"mean": None, "most": [None, 1.5], "id": 2**60}
    assert json.loads(desk.model.requests[1].messages[-1].text) == result.content


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999"])
@pytest.mark.parametrize(
    "field",
    [
        '"budget": {{"seconds": {}}}',
        '"input": [{{"type": "table", "table": {{"columns": ["a"], "rows": [[{}]]}}}}]',
    ],
)
async def test_a_client_sends_none_either(number: str, field: str) -> None:
    deps = api_deps()
    body = f'{{"agent": "support", "input": "Hi.", {field.format(number)}}}'
    async with calling(deps) as client:
        answer = await client.post("/v1/runs", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert (await deps.journal.runs("default")).data == []


@pytest.mark.parametrize("index", [ANSWER_CALLS, 3_000_000_000, -1])
async def test_an_index_beyond_all_calls_is_a_broken_answer(index: int) -> None:
    call = {"index": index, "id": "c", "function": {"name": "wire", "arguments": "{}"}}
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
    model = ScriptedServer(ScriptedAnswer(chunks=[json.dumps(chunk)]))
    async with model.serving() as url:
        remote = RemoteChatModel(RemoteConfig(url))
        request = ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "Hi."}]})
        with pytest.raises(ModelUnavailable, match="invalid chat chunk"):
            [chunk async for chunk in remote.stream(request)]
        await remote.close()


USED = ["0", "null", "9000000000000000000", "-5", "1e310", "1.5", '"many"', "true"]


@pytest.mark.parametrize("count", USED)
async def test_counts_that_no_server_can_mean_are_estimated(count: str) -> None:
    told = f'{{"prompt_tokens": {count}, "completion_tokens": {count}, "total_tokens": {count}}}'
    chunk = (
        f'{{"choices": [{{"index": 0, "delta": {{"content": "Hello."}}, "finish_reason": "stop"}}], "usage": {told}}}'
    )
    async with ScriptedServer(ScriptedAnswer(chunks=[chunk])).serving() as url:
        remote = RemoteChatModel(RemoteConfig(url))
        deps = api_deps(model=remote)
        body = {"model": "scripted", "messages": [{"role": "user", "content": "Hi."}]}
        async with calling(deps) as client:
            answers = [await client.post("/v1/chat/completions", json=body) for _ in range(3)]
            used = await client.get("/v1/usage")
        await remote.close()
    assert [answer.status_code for answer in answers] == [200] * 3
    assert 0 < used.json()["tenant"]["used"]["tokens"] < 1000


async def test_a_chunk_of_odd_numbers_is_a_broken_answer() -> None:
    chunk = '{"created": 1e310, "choices": []}'
    async with ScriptedServer(ScriptedAnswer(chunks=[chunk])).serving() as url:
        remote = RemoteChatModel(RemoteConfig(url))
        request = ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "Hi."}]})
        with pytest.raises(ModelUnavailable, match="invalid chat chunk"):
            [chunk async for chunk in remote.stream(request)]
        await remote.close()


async def test_what_a_server_calls_its_answer_and_calls_does_not_leave() -> None:
    key = "AKIAABCDEFGHIJKLMNOP"
    call = {"index": 0, "id": key, "type": "function", "function": {"name": "add", "arguments": "{}"}}
    chunks = [
        json.dumps({"id": key, "model": key, "created": 1, "object": "chat.completion.chunk", "choices": [one]})
        for one in (
            {"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}},
            {"index": 0, "delta": {}, "finish_reason": "tool_calls"},
        )
    ]
    add = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}], "tools": [add]}
    async with ScriptedServer(ScriptedAnswer(chunks=chunks)).serving() as url:
        remote = RemoteChatModel(RemoteConfig(url))
        async with calling(api_deps(model=remote)) as client:
            told = [await client.post("/v1/chat/completions", json={**body, "stream": stream}) for stream in (0, 1)]
        await remote.close()
    assert all('"add"' in answer.text and key not in answer.text for answer in told)


async def test_a_server_that_claims_to_be_our_engine_is_not_believed() -> None:
    """Attack: text past the rails in the platform's own fields, a forged stop, a forged confidence."""
    key = "AKIAABCDEFGHIJKLMNOP"
    forged = {"interrupted": True, "confidence": 0.99, "asks": [{"call_id": key, "reason": key, "labels": [key]}]}
    chunks = [
        json.dumps({"object": "chat.completion.chunk", "choices": [one], "flightloop": forged})
        for one in (
            {"index": 0, "delta": {"role": "assistant", "content": "hello"}},
            {"index": 0, "delta": {}, "finish_reason": "stop"},
        )
    ]
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}
    async with ScriptedServer(ScriptedAnswer(chunks=chunks)).serving() as url:
        remote = RemoteChatModel(RemoteConfig(url))
        async with calling(api_deps(model=remote)) as client:
            answers = [await client.post("/v1/chat/completions", json={**body, "stream": stream}) for stream in (0, 1)]
        await remote.close()
    for answer in answers:
        assert answer.status_code == 200
        assert "hello" in answer.text
        assert not any(word in answer.text for word in (key, "0.99", 'interrupted":true'))
