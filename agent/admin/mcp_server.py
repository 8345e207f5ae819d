"""Flightloop as an MCP server: other agents start runs here and read their results.

It is a client of the HTTP API like any other, with the key and the address that the SDK finds.
"""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer

from flightloop import AsyncFlightloop
from flightloop.content import text_of
from flightloop.runs import Run

MOST_SECONDS = 300.0
INSTRUCTIONS = "Agents that work on their own. Start a run, then ask for its result until its status is an end."


def server(client: AsyncFlightloop | None = None) -> MCPServer:
    """A server with three tools. Without a client one is made when it is first needed."""
    made = MCPServer("flightloop", instructions=INSTRUCTIONS)
    clients = [client] if client else []

    def api() -> AsyncFlightloop:
        if not clients:
            clients.append(AsyncFlightloop())
        return clients[0]

    @made.tool()
    async def list_agents() -> list[dict[str, str]]:
        """The agents that can be given work, and what each is for."""
        return [{"name": agent.name, "description": agent.description} for agent in (await api().agents.list()).data]

    @made.tool()
    async def start_run(agent: str, input: str, session_id: str | None = None) -> dict[str, Any]:
        """Gives an agent something to do and returns at once, with the run's id. The same session_id goes on with a
        conversation."""
        return _told(await api().runs.create(agent=agent, input=input, session_id=session_id))

    @made.tool()
    async def run_result(run_id: str, wait_seconds: float = 30.0) -> dict[str, Any]:
        """A run's status and answer, after waiting for its end for up to so many seconds (300 at most)."""
        try:
            run = await api().runs.wait(run_id, timeout_s=max(0.0, min(wait_seconds, MOST_SECONDS)))
        except TimeoutError:
            run = await api().runs.get(run_id)
        return _told(run)

    return made


def _told(run: Run) -> dict[str, Any]:
    told = {"run_id": run.id, "session_id": run.session_id, "status": run.status.value}
    if run.output is not None:
        told["output"] = text_of(run.output)
    if run.error is not None:
        told["error"] = run.error.message
    return told
