"""What every version of the MCP client does with flightloop's server: standard library only.

``session`` is version 1's ``ClientSession`` or version 2's ``Client``. Their methods have the same names, their results
have fields in camel case and in snake case.
"""

from __future__ import annotations

import json
from typing import Any

from bench.clients import checks as c
from bench.clients.checks import Seen, alike, told

TOOLS = {"list_agents", "start_run", "run_result", "cancel_run"}


def _field(found: Any, name: str) -> Any:
    """A field by its name in camel case."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return getattr(found, name) if hasattr(found, name) else getattr(found, snake)


async def _called(session: Any, tool: str, **arguments: Any) -> Any:
    return _field(await session.call_tool(tool, arguments), "structuredContent")


async def tools(session: Any) -> Seen:
    found = (await session.list_tools()).tools
    documented = all(tool.description and _field(tool, "inputSchema") for tool in found)
    return [tool.name for tool in found], {tool.name for tool in found} == TOOLS and documented


async def list_agents(session: Any) -> Seen:
    found = (await _called(session, "list_agents"))["result"]
    return found, [agent["name"] for agent in found] == ["calculator"]


async def start_and_result(session: Any) -> Seen:
    started = await _called(session, "start_run", agent="calculator", input=c.ADD)
    ended = await _called(session, "run_result", run_id=started["run_id"], wait_seconds=60)
    return ended, ended["status"] == "succeeded" and alike(ended["output"], c.SAID_SUM)


async def session_continues(session: Any) -> Seen:
    first = await _called(session, "start_run", agent="calculator", input=c.ADD)
    await _called(session, "run_result", run_id=first["run_id"], wait_seconds=60)
    again = {"agent": "calculator", "input": c.HELLO, "session_id": first["session_id"]}
    second = await _called(session, "start_run", **again)
    ended = await _called(session, "run_result", run_id=second["run_id"], wait_seconds=60)
    return ended, ended["session_id"] == first["session_id"] and alike(ended["output"], c.SAID_HELLO)


async def progress(session: Any) -> Seen:
    told_of: list[Any] = []

    async def heard(done: float, total: float | None, message: str | None) -> None:
        told_of.append((done, message))

    started = await _called(session, "start_run", agent="calculator", input=c.ADD)
    waited = {"run_id": started["run_id"], "wait_seconds": 60}
    await session.call_tool("run_result", waited, progress_callback=heard)
    return told_of, len(told_of) > 0


async def cancel(session: Any) -> Seen:
    started = await _called(session, "start_run", agent="calculator", input=c.ENDLESS)
    await _called(session, "cancel_run", run_id=started["run_id"])
    ended = await _called(session, "run_result", run_id=started["run_id"], wait_seconds=60)
    return ended, ended["status"] == "cancelled"


async def error_of_a_tool(session: Any) -> Seen:
    answer = await session.call_tool("start_run", {"agent": "nobody", "input": "x"})
    text = answer.content[0].text
    return text, _field(answer, "isError") and "calculator" in text


async def error_of_arguments(session: Any) -> Seen:
    answer = await session.call_tool("start_run", {"agent": "calculator"})
    return answer.content[0].text, _field(answer, "isError") and "input" in answer.content[0].text


async def unknown_tool(session: Any) -> Seen:
    try:
        answer = await session.call_tool("nothing", {})
    except Exception as error:  # a protocol error, as the specification wants it
        return f"{type(error).__name__}: {error}", "nothing" in str(error)
    return answer.content[0].text, bool(_field(answer, "isError"))


async def resources(session: Any) -> Seen:
    uris = [str(found.uri) for found in (await session.list_resources()).resources]
    templates = _field(await session.list_resource_templates(), "resourceTemplates")
    return (uris[:3], len(templates)), "flightloop://agents/calculator" in uris and len(templates) == 3


async def read_agent(session: Any) -> Seen:
    contents = (await session.read_resource("flightloop://agents/calculator")).contents
    return contents[0].text, json.loads(contents[0].text)["name"] == "calculator"


async def read_events(session: Any) -> Seen:
    started = await _called(session, "start_run", agent="calculator", input=c.ADD)
    await _called(session, "run_result", run_id=started["run_id"], wait_seconds=60)
    contents = (await session.read_resource(f"flightloop://runs/{started['run_id']}/events")).contents
    events = [json.loads(line) for line in contents[0].text.splitlines()]
    return len(events), len(events) > 3


async def unknown_resource(session: Any) -> Seen:
    try:
        found = await session.read_resource("flightloop://agents/nobody")
    except Exception as error:  # its class has another name in each version
        return f"{type(error).__name__}: {error}", "nobody" in str(error)
    return found, False


async def prompts(session: Any) -> Seen:
    found = (await session.list_prompts()).prompts
    prompt = await session.get_prompt("calculator", {"input": c.ADD})
    return prompt.messages[0].content.text, [one.name for one in found] == ["calculator"] and c.ADD in str(prompt)


CHECKS = (
    tools,
    list_agents,
    start_and_result,
    session_continues,
    progress,
    cancel,
    error_of_a_tool,
    error_of_arguments,
    unknown_tool,
    resources,
    read_agent,
    read_events,
    unknown_resource,
    prompts,
)


async def check_all(name: str, session: Any) -> None:
    """Runs all checks over one connection, whose name begins theirs."""
    for check in CHECKS:
        if c.SCRIPTED or check is not cancel:
            await told(f"{name}_{check.__name__}", check(session))
