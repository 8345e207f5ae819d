"""What models, tools and clients say that no journal could keep: halves of characters, and what is too deep."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api import ApiDeps
from agent.models.answer_chunks import calls, text
from agent.testing.model_server import ScriptedAnswer
from flightloop.chat import FunctionCall
from flightloop.content import text_of
from flightloop.tool import tool
from flightloop.wellformed import LEVELS, levels, whole
from tests.agent.api.test_runs import client, deps, refused
from tests.agent.models.test_remote import ask, talking
from tests.agent.models.test_remote import text_of as said

__all__ = ["client", "deps"]

HALF = json.loads('"\\ud83d"')
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None, categories=["L", "Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(categories=["L", "Cs"])), inner),
)
happened: list[str] = []


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@tool(effect="unsafe")
async def deep(depth: int) -> Any:
    """Returns lists in lists."""
    happened.append(f"deep {depth}")
    return nested(depth)


@tool(effect="unsafe")
async def half() -> Any:
    """Returns half a character."""
    happened.append("half")
    return {"said": HALF}


@tool(effect="unsafe")
async def take(value: Any) -> str:
    """Takes anything."""
    happened.append("take")
    return "taken"


@given(JSON)
def test_what_is_made_whole_can_be_written(value: Any) -> None:
    json.dumps(whole(value), ensure_ascii=False).encode()
    assert levels(whole(value)) == levels(value)


def test_halves_that_make_a_pair_are_joined() -> None:
    assert whole({"a": [HALF + json.loads('"\\ude00"')]}) == {"a": ["😀"]}
    assert whole(HALF) == "�"
    assert whole("plain") == "plain"


@pytest.mark.parametrize("arguments", ['{"value": "\\ud83d"}', '{"value": ' + "[" * 5000 + "]" * 5000 + "}"])
def test_arguments_that_could_not_be_kept_are_none(arguments: str) -> None:
    with pytest.raises(ValueError, match=r"hex escape|recursion"):
        FunctionCall(name="take", arguments=arguments).parsed()
    with pytest.raises(ValueError, match="levels"):
        FunctionCall(name="take", arguments=json.dumps({"value": nested(LEVELS)})).parsed()


async def test_a_call_with_them_is_refused_and_the_run_goes_on(make_bench: Callable[..., Any]) -> None:
    happened.clear()
    asked = [calls(("take", json.dumps({"value": value}))) for value in (nested(210), HALF)]
    bench = make_bench([*asked, text("Sorry.")], [take])
    run = await bench.work(await bench.start())
    assert (run.status, text_of(run.output), happened) == ("succeeded", "Sorry.", [])
    results = [event for event in await bench.events(run) if event.type == "tool.result"]
    assert all("the arguments are not a JSON object" in each.error for each in results)
    assert len(results) == 2


async def test_what_happened_is_on_record_whatever_the_tool_returns(make_bench: Callable[..., Any]) -> None:
    happened.clear()
    bench = make_bench(
        [calls(("deep", {"depth": 300}), ("half", {}), ("deep", {"depth": 2})), text("Done.")], [deep, half]
    )
    run = await bench.work(await bench.start())
    assert run.status == "succeeded"
    assert sorted(happened) == ["deep 2", "deep 300", "half"]
    results = [event for event in await bench.events(run) if event.type == "tool.result"]
    told = {event.call_id: event.content for event in results}
    assert list(told.values()).count({"said": "�"}) == 1
    assert list(told.values()).count([[1]]) == 1
    assert any("left out" in str(content) for content in told.values())
    assert await bench.journal.read_all()


async def test_a_remote_model_may_say_them() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "a" + HALF}, "finish_reason": "stop"}]}
    async with talking(ScriptedAnswer(chunks=[json.dumps(chunk)])) as (model, _):
        assert await said(model, ask()) == "a�"


@pytest.mark.parametrize("field", ["input", "metadata"])
async def test_a_client_may_not(client: httpx.AsyncClient, deps: ApiDeps, field: str) -> None:
    wrong = {"input": "a" + HALF, "metadata": {"a": HALF}}[field]
    body = json.dumps({"agent": "support", "input": "Hi.", field: wrong})
    answer = await client.post("/v1/runs", content=body, headers={"content-type": "application/json"})
    assert "not valid JSON" in refused(answer, 400, "invalid_request")
