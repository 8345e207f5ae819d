from __future__ import annotations

import json
from dataclasses import replace

from mcp.types import TextResourceContents

from agent.testing.api import FixedCatalogue, api_deps
from flightloop.runs import AgentInfo
from tests.mcp_serving import connected, serving

LAST = "agent_200"
"""Name of the first agent on the second page of the list."""


class Many(FixedCatalogue):
    def agents(self) -> list[AgentInfo]:
        (agent,) = super().agents()
        return [agent.model_copy(update={"name": f"agent_{number:03}"}) for number in range(201)]


async def test_agents_of_all_pages_are_known() -> None:
    deps = api_deps()
    one = deps.catalogue
    assert isinstance(one, FixedCatalogue)
    uri = f"flightloop://agents/{LAST}"
    async with serving(replace(deps, catalogue=Many(one.policy, one.compiled))) as url, connected(url) as client:
        listed = (await client.call_tool("list_agents", {})).structured_content
        assert listed is not None
        assert listed["result"][-1]["name"] == LAST
        assert uri in {resource.uri for resource in (await client.list_resources()).resources}
        (content,) = (await client.read_resource(uri)).contents
        assert isinstance(content, TextResourceContents)
        assert json.loads(content.text)["name"] == LAST
        assert LAST in {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert (await client.get_prompt(LAST, {"input": "Hello"})).messages
