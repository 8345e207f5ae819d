"""What an emergency stop can name: everything, an agent of the project or of somebody else, a session."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from agent.api import create_app
from agent.api.deps import ApiDeps
from agent.testing.api import KEY, OTHER_KEY, Said, api_deps

CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "What is 2 + 3?"}]}
NAME = "x-flightloop-agent"


def calling(deps: ApiDeps, key: str = KEY) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(deps), raise_app_exceptions=False)
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


async def stopped(client: httpx.AsyncClient, target: str, scope: str = "agent") -> str:
    answer = await client.post("/v1/interrupts", json={"scope": scope, "target": target})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize(
    "asked",
    [
        ("/v1/chat/completions", CHAT, {NAME: "calculator"}),
        ("/v1/chat/completions", {**CHAT, "flightloop": {"tags": {"agent": "calculator"}}}, {}),
        ("/v1/responses", {"model": "scripted", "input": "What is 2 + 3?"}, {NAME: "calculator"}),
    ],
)
async def test_a_foreign_agent_is_stopped_by_its_name_until_that_is_lifted(asked: Any) -> None:
    path, body, headers = asked
    async with calling(api_deps()) as client:
        interrupt = await stopped(client, "calculator")
        refused = await client.post(path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (423, "interrupted")
        assert [each["target"] for each in (await client.get("/v1/interrupts")).json()["data"]] == ["calculator"]
        another = await client.post("/v1/chat/completions", json=CHAT, headers={NAME: "another"})
        assert another.status_code == 200
        assert (await client.delete(f"/v1/interrupts/{interrupt}")).status_code == 200
        assert (await client.post(path, json=body, headers=headers)).status_code == 200


async def test_it_ends_an_answer_that_is_under_way() -> None:
    gate = asyncio.Event()  # never set: only the interrupt ends the answer
    deps = api_deps(Said("a long answer", gate=gate), streaming="live")
    async with calling(deps) as client:
        body = {**CHAT, "stream": True}
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body, headers={NAME: "calculator"}))
        await deps.model.asked.wait()  # type: ignore[attr-defined]
        await stopped(client, "calculator")
        async with asyncio.timeout(20):
            answer = await asking
        assert json.loads(answer.text.strip().splitlines()[-1][6:])["error"]["code"] == "interrupted"


async def test_a_name_beyond_ascii_is_the_same_in_a_header_and_in_a_body() -> None:
    async with calling(api_deps()) as client:
        await stopped(client, "Rechenkünstler")
        headers = [(b"x-flightloop-agent", "Rechenkünstler".encode())]
        assert (await client.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code == 423


async def test_another_tenants_agent_of_that_name_goes_on() -> None:
    deps = api_deps()
    async with calling(deps) as client, calling(deps, OTHER_KEY) as other:
        await stopped(client, "calculator")
        headers = {NAME: "calculator"}
        assert (await other.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code == 200


async def test_a_scopes_target_is_not_another_scopes() -> None:
    """A session that is called as an agent is, and the other way round."""
    run = {"agent": "support", "input": "Where is my order?", "session_id": "s1"}
    async with calling(api_deps()) as client:
        made = (await client.post("/v1/runs", json=run)).json()
        await client.post(f"/v1/runs/{made['id']}/interrupt")
        for scope, target in (("session", "support"), ("agent", "s1")):
            await stopped(client, target, scope)
        assert (await client.post("/v1/runs", json=run)).status_code == 201
        assert (await client.post(f"/v1/runs/{made['id']}/resume")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "agent"},
        {"scope": "agent", "target": ""},
        {"scope": "session", "target": ""},
        {"scope": "agent", "target": "x" * 129},
        {"scope": "session", "target": "a\0b"},
        {"scope": "subject"},
        {"scope": "subject", "target": "x" * 201},
        {"scope": "all", "target": "support"},
    ],
)
async def test_a_target_that_nothing_could_have_is_an_error(body: dict[str, str]) -> None:
    async with calling(api_deps()) as client:
        answer = await client.post("/v1/interrupts", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "target")
        assert (await client.get("/v1/interrupts")).json()["data"] == []


async def test_a_name_that_no_interrupt_could_have_is_an_error() -> None:
    async with calling(api_deps()) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT, headers={NAME: "x" * 129})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, NAME)
