"""Calls of completions that a caller's parser could read otherwise than the rails did."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agent.api import create_app
from agent.serve.http_server import running
from agent.testing.api import KEY, FixedCatalogue, Said, api_deps
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from tests.agent.api.test_asks import ASKS, TOOLS, said


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "arguments", ['{"amount": 5000, "amount": 50}', '{"amount": 50, "Amount": 5000}', '{"Amount": 5000}']
)
async def test_what_a_client_may_read_as_another_amount_does_not_leave(arguments: str, stream: bool) -> None:
    read = parse_policy(ASKS)
    deps = api_deps(Said(calls=[("pay_bill", arguments)]), catalogue=FixedCatalogue(read, Guard(read)))
    fields: Any = {"model": "scripted", "messages": [said("pay 50")], "tools": TOOLS, "stream": stream}
    async with running(create_app(deps)) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        answer = await client.post("/v1/chat/completions", json=fields, headers={"Authorization": f"Bearer {KEY}"})
    assert "5000" not in answer.text
    assert "tool_calls" not in answer.text or '"tool_calls":null' in answer.text
