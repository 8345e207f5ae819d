"""Priorities that callers ask for."""

from __future__ import annotations

import httpx
import pytest

from agent.api import create_app
from agent.testing.api import KEY, OTHER_KEY, ScriptedChat, api_deps


@pytest.mark.parametrize(
    ("asked", "given"), [("operator", "interactive"), ("interactive", "interactive"), ("batch", "batch")]
)
async def test_no_tenant_takes_the_operators_priority(asked: str, given: str) -> None:
    deps = api_deps()
    user = {"role": "user", "content": "hello"}
    body = {"model": "scripted", "messages": [user], "flightloop": {"priority": asked}}
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for key in (OTHER_KEY, KEY):
            headers = {"authorization": f"Bearer {key}"}
            assert (await client.post("/v1/chat/completions", json=body, headers=headers)).status_code == 200
    assert isinstance(deps.model, ScriptedChat)
    assert [one.flightloop.priority for one in deps.model.requests] == [given, asked]
