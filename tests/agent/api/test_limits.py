"""Completions count the calls that they release: the caller performs them, and nobody tells their outcome."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from agent.api import create_app
from agent.serve.http_server import running
from agent.testing.api import KEY, POLICY, FixedCatalogue, Said, api_deps
from guardrails.guard import Guard
from guardrails.policy import parse_policy

SCHEMA = {"type": "object", "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}}}
TOOL = {"type": "function", "function": {"name": "pay_bill", "description": "Pays a bill.", "parameters": SCHEMA}}
LIMITED = (
    POLICY.format(streaming="live")
    .replace("tools:\n", "tools:\n  provenance: allow\n")
    .replace("[add, pay]", "[pay_bill]")
)
PER_ORDER = "limits: [{tools: [pay_bill], sum: amount, per: [order], maximum: 100, action: %s}]"


def paid(order: int, amount: float) -> Said:
    return Said(calls=[("pay_bill", json.dumps({"order": order, "amount": amount}))])


async def answers(action: str, *said: Said, together: bool = False) -> list[Any]:
    """The choices of one completion after the other, or of all at the same time."""
    read = parse_policy(f"{LIMITED}\n{PER_ORDER % action}")
    deps = api_deps(*said, catalogue=FixedCatalogue(read, Guard(read)))
    fields: Any = {"model": "scripted", "messages": [{"role": "user", "content": "pay"}], "tools": [TOOL]}
    async with running(create_app(deps)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
        asked = [client.chat.completions.create(**fields) for _ in said]
        return await asyncio.gather(*asked) if together else [await one for one in asked]


def reasons(completions: list[Any]) -> list[str]:
    return [completion.choices[0].finish_reason for completion in completions]


async def test_a_released_call_counts() -> None:
    found = await answers("block", paid(7, 60), paid(7, 60), paid(8, 60))
    assert reasons(found) == ["tool_calls", "content_filter", "tool_calls"]


@pytest.mark.parametrize("attempt", range(3))
async def test_of_several_at_once_one_gets_the_room(attempt: int) -> None:
    found = await answers("block", paid(7, 60), paid(7, 60), paid(7, 60), together=True)
    assert sorted(reasons(found)) == ["content_filter", "content_filter", "tool_calls"]


async def test_the_caller_is_told_what_a_person_should_decide() -> None:
    _, second = await answers("ask", paid(7, 60), paid(7, 60))
    (ask,) = second.model_extra["flightloop"]["asks"]
    assert "the sum of amount of pay_bill per order is limited to 100: 60 used, 40 left" in ask["reason"]
