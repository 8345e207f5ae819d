"""The project's agents, as the API lists them."""

from __future__ import annotations

from agent.mcp_server.access import api
from flightloop.errors import NotFound
from flightloop.runs import AgentInfo


async def every_agent() -> list[AgentInfo]:
    """The agents of all pages of the list. Raises FlightloopError."""
    agents: list[AgentInfo] = []
    after: str | None = None
    while True:
        page = await api().agents.list(after=after)
        agents += page.data
        if not page.has_more:
            return agents
        after = page.next_after


async def agent_named(name: str) -> AgentInfo:
    """The agent of that name.

    Raises:
        NotFound: there is none; the message lists the known ones.
    """
    agents = {agent.name: agent for agent in await every_agent()}
    if name not in agents:
        raise NotFound(f"there is no agent {name!r}; known: {', '.join(agents) or 'none'}")
    return agents[name]
