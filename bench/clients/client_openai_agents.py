"""The OpenAI Agents SDK, over chat completions and over responses."""

from __future__ import annotations

from typing import Any

import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, raised_by, run, scripted
from bench.clients.shapes import Person

set_tracing_disabled(True)  # it would send traces to OpenAI
MADE: list[str] = []


@function_tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    MADE.append("add")
    return a + b


@function_tool
def weather(city: str) -> str:
    """Tells the weather in a city."""
    MADE.append("weather")
    return f"sunny in {city}"


def chat(key: str = KEY) -> Any:
    MADE.clear()
    return OpenAIChatCompletionsModel(MODEL, AsyncOpenAI(base_url=URL, api_key=key))


def responses(key: str = KEY) -> Any:
    MADE.clear()
    return OpenAIResponsesModel(MODEL, AsyncOpenAI(base_url=URL, api_key=key))


def able(model: Any, **more: Any) -> Agent[Any]:
    return Agent(name="able", instructions="Use the tools.", model=model, tools=[add, weather], **more)


async def answered(model: Any) -> Seen:
    result = await Runner.run(Agent(name="plain", model=model), c.HELLO)
    usage = result.context_wrapper.usage
    return (result.final_output, usage), alike(result.final_output, c.SAID_HELLO) and usage.total_tokens > 0


async def acted(model: Any) -> Seen:
    result = await Runner.run(able(model), c.WEATHER)
    right = alike(MADE, ["weather", "add"]) and alike(result.final_output, c.SAID_WEATHER)
    return (MADE, result.final_output), right


async def handed(model: Any) -> Seen:
    spanish: Agent[Any] = Agent(name="spanish", instructions="You speak Spanish.", model=model)
    desk: Agent[Any] = Agent(name="desk", instructions="Hand over to others.", model=model, handoffs=[spanish])
    result = await Runner.run(desk, c.SPANISH)
    return (result.last_agent.name, result.final_output), result.last_agent.name == "spanish"


async def streamed(model: Any) -> Seen:
    result = Runner.run_streamed(able(model), c.ADD)
    kinds, text = set(), ""
    async for event in result.stream_events():
        kinds.add(event.name if event.type == "run_item_stream_event" else event.type)
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text += event.data.delta
    right = {"tool_called", "tool_output", "message_output_created"} <= kinds and text == result.final_output
    return (sorted(kinds), text), right and alike(text, c.SAID_SUM)


async def structured(model: Any) -> Seen:
    agent: Agent[Any] = Agent(name="reader", model=model, output_type=Person)
    person = (await Runner.run(agent, c.PERSON)).final_output
    return person, isinstance(person, Person)


async def in_session(model: Any) -> Seen:
    session = SQLiteSession("one")
    await Runner.run(able(model), c.ADD, session=session)
    result = await Runner.run(able(model), c.HELLO, session=session)
    items = await session.get_items()
    return len(items), len(items) >= 5 and alike(result.final_output, c.SAID_HELLO)


@check
async def agent() -> Seen:
    return await answered(chat())


@check
async def agent_responses() -> Seen:
    return await answered(responses())


@check
async def tools() -> Seen:
    return await acted(chat())


@check
async def tools_responses() -> Seen:
    return await acted(responses())


@scripted
async def handoff() -> Seen:
    return await handed(chat())


@scripted
async def handoff_responses() -> Seen:
    return await handed(responses())


@check
async def streaming() -> Seen:
    return await streamed(chat())


@check
async def streaming_responses() -> Seen:
    return await streamed(responses())


@check
async def output_type() -> Seen:
    return await structured(chat())


@check
async def output_type_responses() -> Seen:
    return await structured(responses())


@check
async def session() -> Seen:
    return await in_session(chat())


@check
async def session_responses() -> Seen:
    return await in_session(responses())


@scripted
async def parallel_tools() -> Seen:
    result = await Runner.run(able(chat()), c.ADD_TWICE)
    return (MADE, result.final_output), MADE == ["add", "add"] and result.final_output == c.SAID_SUMS


@check
async def tool_choice() -> Seen:
    settings = ModelSettings(tool_choice="add", max_tokens=200)
    result = await Runner.run(able(chat(), model_settings=settings), c.ADD)
    return (MADE, result.final_output), "add" in MADE


@scripted
async def agent_as_tool() -> Seen:
    helper = able(chat()).as_tool(tool_name="helper", tool_description="Adds numbers.")
    boss: Agent[Any] = Agent(name="boss", model=chat(), tools=[helper])
    result = await Runner.run(boss, f"Have your helper find out: {c.ADD}")
    return result.final_output, result.final_output == c.SAID_SUM


@check
async def error_401() -> Seen:
    stranger: Agent[Any] = Agent(name="plain", model=chat("nobody's key"))
    return await raised_by(openai.AuthenticationError, Runner.run(stranger, c.HELLO), status_code=401)


@check
async def error_context_length() -> Seen:
    long = Runner.run(Agent(name="plain", model=responses()), "word " * 9000)
    return await raised_by(openai.BadRequestError, long, code="context_length_exceeded")


if __name__ == "__main__":
    run()
