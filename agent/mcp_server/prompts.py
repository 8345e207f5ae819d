"""A prompt per agent: clients offer prompts as commands, so users can address an agent by name."""

from __future__ import annotations

from typing import Any

from mcp.types import GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent

from agent.mcp_server.agents import agent_named, every_agent
from flightloop.errors import InvalidRequest
from flightloop.runs import AgentInfo

ARGUMENTS = [
    PromptArgument(name="input", description="What the agent should do.", required=True),
    PromptArgument(name="session_id", description="Earlier session to continue."),
]


async def listed() -> list[Prompt]:
    """Prompts of all agents. Raises FlightloopError."""
    agents = await every_agent()
    return [Prompt(name=agent.name, description=_description(agent), arguments=ARGUMENTS) for agent in agents]


async def get(name: str, arguments: dict[str, Any]) -> GetPromptResult:
    """The prompt of an agent.

    Raises:
        NotFound: no agent has that name; the message lists the known ones.
        InvalidRequest: there is no input.
    """
    agent = await agent_named(name)
    if not arguments.get("input"):
        raise InvalidRequest("input: say what the agent should do", param="input")
    session = f", with the session_id {arguments['session_id']}" if arguments.get("session_id") else ""
    text = (
        f"Start a run of the agent {name}{session}, and give it this input word for word:\n\n{arguments['input']}\n\n"
        "Then ask for the run's result until the run has ended, and tell me what the agent answers."
    )
    content = TextContent(type="text", text=text)
    messages = [PromptMessage(role="user", content=content)]
    return GetPromptResult(description=_description(agent), messages=messages)


def _description(agent: AgentInfo) -> str:
    return agent.description or f"Gives the agent {agent.name} something to do."
