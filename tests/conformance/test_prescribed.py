"""The programs that the MCP conformance suite runs have what it prescribes; the suite itself is run by hand."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import ElicitRequestParams, ElicitResult, LoggingMessageNotificationParams

from agent.serve.http_server import running
from tests.conformance import client as suite_client
from tests.conformance.server import serving

ANSWERS = {"test_elicitation": {"username": "ann", "email": "ann@shop.example"}, "test_elicitation_sep1330_enums": {}}


async def test_the_server_has_what_is_prescribed() -> None:
    """To a client of the versions with a handshake, without a key."""
    asked: list[ElicitRequestParams] = []
    logged: list[LoggingMessageNotificationParams] = []
    current = ""

    async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="accept", content=ANSWERS.get(current, {}))

    async def log(params: LoggingMessageNotificationParams) -> None:
        logged.append(params)

    async with (
        serving(0) as url,
        Client(url, mode="legacy", elicitation_callback=answer, logging_callback=log) as client,
    ):
        listed = [tool.name for tool in (await client.list_tools()).tools if tool.name.startswith("test_")]
        later = [name for name in listed if name.startswith(("test_input_required", "test_missing"))]
        tools = [name for name in listed if name not in later]
        assert (len(tools), len(later)) == (11, 9)
        for name in tools:
            current = name
            result = await client.call_tool(name, {"message": "?"} if name == "test_elicitation" else {})
            assert result.is_error == (name == "test_error_handling")
            assert result.content
        uris = [resource.uri for resource in (await client.list_resources()).resources]
        assert uris == ["test://static-text", "test://static-binary", "flightloop://agents/support"]
        assert (await client.read_resource("test://template/123/data")).contents
        for prompt in (await client.list_prompts()).prompts:
            if "input_required" in prompt.name:
                continue
            given = {argument.name: "a" for argument in prompt.arguments or ()}
            assert prompt.description
            assert (await client.get_prompt(prompt.name, given)).messages
    assert (len(asked), len(logged)) == (3, 3)


@pytest.mark.parametrize("name", ["elicitation", "request_state", "multi_round", "tampered_state", "capabilities"])
async def test_the_server_asks_as_later_versions_do(name: str) -> None:
    asked: list[str] = []

    async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"name": "Ann", "color": "green", "ok": True})

    async with serving(0) as url, Client(url, mode="2026-07-28", elicitation_callback=answer) as client:
        result = await client.call_tool(f"test_input_required_result_{name}", {})
    assert "state-ok" in str(result.content)
    assert len(asked) == (2 if name == "multi_round" else 1)


async def test_the_client_calls_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    sums = MCPServer("sums")

    @sums.tool()
    def add_numbers(a: int, b: int) -> str:
        return f"{a} and {b} are {a + b}"

    async with running(sums.streamable_http_app()) as url:
        await suite_client.main(f"{url}/mcp")
    assert capsys.readouterr().out == "add_numbers ['2 and 3 are 5']\n"
