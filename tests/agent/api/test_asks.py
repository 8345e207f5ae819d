"""A completion's caller is told which calls the policy would ask a person about."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from agent.api import create_app
from agent.serve.http_server import running
from agent.testing.api import KEY, POLICY, FixedCatalogue, Said, api_deps
from flightloop.chat import Ask, ResponseExtension
from guardrails.guard import Guard
from guardrails.policy import parse_policy

SCHEMA = {"type": "object", "properties": {"amount": {"type": "number"}}}
ALLOWED = POLICY.format(streaming="live").replace("[add, pay]", "[pay_bill, get_bill]")
ASKS = ALLOWED.replace("  arguments:", "  ask: [{tool: pay_bill, argument: amount, above: 50}]\n  arguments:")
REPEATED = (
    "repeats: the same call was made in this session already, and the user's latest words do not ask for it again"
)


def tool(name: str, description: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": SCHEMA}}


TOOLS = [tool("pay_bill", "Pays a bill."), tool("get_bill", "Looks a bill up.")]


def said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def called(name: str, amount: int) -> list[dict[str, Any]]:
    """A call in a conversation, and its result."""
    function = {"name": name, "arguments": json.dumps({"amount": amount})}
    return [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "one", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "one", "content": "paid"},
    ]


async def asks(
    name: str, amount: int, *messages: dict[str, Any], policy: str = ALLOWED, stream: bool = False
) -> list[str]:
    """The reasons to ask about a call, as the official client reads them."""
    read = parse_policy(policy)
    confident = ResponseExtension(confidence=0.5)
    answer = Said(calls=[(name, json.dumps({"amount": amount}))], extension=confident)
    deps = api_deps(answer, catalogue=FixedCatalogue(read, Guard(read)))
    fields: Any = {"model": "scripted", "messages": list(messages), "tools": TOOLS}
    async with running(create_app(deps)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
        if stream:
            chunks = [chunk async for chunk in await client.chat.completions.create(**fields, stream=True)]
            calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
            told = next(found for chunk in chunks if (found := (chunk.model_extra or {}).get("flightloop")))
        else:
            completion = await client.chat.completions.create(**fields)
            calls = list(completion.choices[0].message.tool_calls or [])
            told = (completion.model_extra or {})["flightloop"]
    assert told["confidence"] == 0.5
    found = [Ask.model_validate(one) for one in told.get("asks", [])]
    [call] = calls
    assert all(ask.call_id == call.id for ask in found)
    return [ask.reason for ask in found]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_caller_is_told_why_a_person_should_decide(stream: bool) -> None:
    told = await asks("pay_bill", 60, said("pay 60"), policy=ASKS, stream=stream)
    assert told == ["arguments: the policy wants a person to decide about pay_bill"]
    assert await asks("pay_bill", 40, said("pay 40"), policy=ASKS, stream=stream) == []


async def test_of_several_choices_all_asks_are_told() -> None:
    read = parse_policy(ASKS)
    answers = [Said(calls=[("pay_bill", json.dumps({"amount": amount}))]) for amount in (60, 40)]
    deps = api_deps(*answers, catalogue=FixedCatalogue(read, Guard(read)))
    async with running(create_app(deps)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
        asked: Any = {"model": "scripted", "messages": [said("pay 60 or 40")], "tools": TOOLS, "n": 2}
        completion = await client.chat.completions.create(**asked)
    calls = [call for choice in completion.choices for call in choice.message.tool_calls or []]
    large = [call.id for call in calls if json.loads(call.function.arguments) == {"amount": 60}]
    assert [ask["call_id"] for ask in (completion.model_extra or {})["flightloop"]["asks"]] == large
    assert len(calls) == 2


async def test_a_write_that_the_conversation_holds_already() -> None:
    paid = [said("pay my bill of 40"), *called("pay_bill", 40)]
    thanked = [*paid, {"role": "assistant", "content": "It is paid."}, said("Thanks. You did pay it, right?")]
    again = [*paid, {"role": "assistant", "content": "It is paid."}, said("Please pay another 40.")]
    assert await asks("pay_bill", 40, *thanked) == [REPEATED]
    assert await asks("pay_bill", 40, *paid) == [REPEATED]
    invented = "provenance: amount 41 occurs neither in the user's words nor in a result"
    assert await asks("pay_bill", 41, *thanked) == [invented]
    assert await asks("pay_bill", 40, *again) == []


async def test_looking_again_is_no_write() -> None:
    assert await asks("get_bill", 40, said("how much is it?"), *called("get_bill", 40), said("and now?")) == []


async def test_a_write_that_the_user_forbids() -> None:
    assert await asks("pay_bill", 40, said("Don't pay the bill of 40 yet!")) == [
        "forbidden: the user's latest words forbid it"
    ]


async def test_a_call_without_a_result_is_no_write_that_was_made() -> None:
    asked, _ = called("pay_bill", 40)
    assert await asks("pay_bill", 40, said("pay 40"), asked, said("hm?")) == []
