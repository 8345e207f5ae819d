"""Flightloop as an MCP server, over the API itself."""

from __future__ import annotations

from mcp import Client

from agent.admin.mcp_server import server
from agent.api import create_app
from agent.fakes_api import KEY, api_deps
from agent.serving import bind, running
from flightloop import AsyncFlightloop


async def test_an_agent_of_elsewhere_starts_a_run_and_reads_its_result() -> None:
    deps = api_deps()
    async with running(create_app(deps), bind("127.0.0.1", 0)) as url, AsyncFlightloop(url, KEY) as api:  # noqa: SIM117
        async with Client(server(api)) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == [
                "list_agents",
                "start_run",
                "run_result",
            ]
            agents = (await client.call_tool("list_agents", {})).structured_content
            assert agents is not None
            assert [agent["name"] for agent in agents["result"]] == ["support"]
            begun = (await client.call_tool("start_run", {"agent": "support", "input": "Hello"})).structured_content
            assert begun is not None
            assert begun["status"] == "queued"
            still = await client.call_tool("run_result", {"run_id": begun["run_id"], "wait_seconds": 0.05})
            assert (still.structured_content or {})["status"] == "queued"
            await api.runs.cancel(begun["run_id"])
            ended = await client.call_tool("run_result", {"run_id": begun["run_id"]})
            assert (ended.structured_content or {})["status"] == "cancelled"
            wrong = await client.call_tool("start_run", {"agent": "nobody", "input": "Hello"})
            assert wrong.is_error
