"""Pydantic AI's agents."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, raised_by, run, scripted
from bench.clients.shapes import Capitals, Circle, Drawing, Person

MADE: list[str] = []


def provider(key: str = KEY) -> OpenAIProvider:
    # Each check has an event loop of its own, so it needs a client of its own too.
    return OpenAIProvider(openai_client=AsyncOpenAI(base_url=URL, api_key=key))


def chat() -> OpenAIChatModel:
    return OpenAIChatModel(MODEL, provider=provider())


def responses() -> OpenAIResponsesModel:
    return OpenAIResponsesModel(MODEL, provider=provider())


def able(model: Any) -> Agent:
    MADE.clear()
    agent = Agent(model, instructions="Use the tools.")

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        MADE.append("add")
        return a + b

    @agent.tool_plain
    def weather(city: str) -> str:
        """Tells the weather in a city."""
        MADE.append("weather")
        return f"sunny in {city}"

    return agent


async def structured(output: Any, question: str = c.PERSON, model: Any = None) -> Any:
    return (await Agent(model or chat(), output_type=output).run(question)).output


@check
async def run_text() -> Seen:
    result = await Agent(chat()).run(c.HELLO)
    return (result.output, result.usage), alike(result.output, c.SAID_HELLO)


@check
async def run_text_responses() -> Seen:
    result = await Agent(responses()).run(c.HELLO)
    return result.output, alike(result.output, c.SAID_HELLO)


@check
async def tools() -> Seen:
    result = await able(chat()).run(c.WEATHER)
    return (MADE, result.output), alike(MADE, ["weather", "add"]) and alike(result.output, c.SAID_WEATHER)


@check
async def tools_responses() -> Seen:
    result = await able(responses()).run(c.WEATHER)
    return (MADE, result.output), alike(MADE, ["weather", "add"]) and alike(result.output, c.SAID_WEATHER)


@scripted
async def parallel_tools() -> Seen:
    result = await able(chat()).run(c.ADD_TWICE)
    return (MADE, result.output), MADE == ["add", "add"] and result.output == c.SAID_SUMS


@check
async def conversation() -> Seen:
    agent = able(chat())
    first = await agent.run(c.ADD)
    second = await agent.run(c.HELLO, message_history=first.all_messages())
    return second.output, alike(second.output, c.SAID_HELLO)


@check
async def stream_text() -> Seen:
    async with Agent(chat()).run_stream(c.HELLO) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    return pieces, alike("".join(pieces), c.SAID_HELLO)


@check
async def stream_of_tools() -> Seen:
    async with able(chat()).run_stream(c.ADD) as result:
        output = await result.get_output()
    return (MADE, output), bool(MADE) and alike(output, c.SAID_SUM)


@check
async def output_by_tool() -> Seen:
    person = await structured(ToolOutput(Person))
    return person, isinstance(person, Person)


@check
async def output_native() -> Seen:
    person = await structured(NativeOutput(Person))
    return person, isinstance(person, Person)


@check
async def output_prompted() -> Seen:
    person = await structured(PromptedOutput(Person))
    return person, isinstance(person, Person)


@check
async def output_responses() -> Seen:
    person = await structured(Person, model=responses())
    return person, isinstance(person, Person)


@check
async def output_union_by_tool() -> Seen:
    drawing = await structured(Drawing, c.CIRCLE)
    return drawing, isinstance(drawing.shape, Circle)


@check
async def output_union_native() -> Seen:
    drawing = await structured(NativeOutput(Drawing), c.CIRCLE)
    return drawing, isinstance(drawing.shape, Circle)


@check
async def output_streamed() -> Seen:
    async with Agent(chat(), output_type=NativeOutput(Person)).run_stream(c.PERSON) as result:
        partials = [partial async for partial in result.stream_output(debounce_by=None)]
    return partials[-1], isinstance(partials[-1], Person)


@scripted
async def output_retried() -> Seen:
    capitals = await structured(ToolOutput(Capitals), c.CAPITALS)
    return capitals, capitals.name == "ADA"


@check
async def error_401() -> Seen:
    stranger = Agent(OpenAIChatModel(MODEL, provider=provider("nobody's key")))
    return await raised_by(ModelHTTPError, stranger.run(c.HELLO), status_code=401)


@check
async def error_404() -> Seen:
    return await raised_by(
        ModelHTTPError, Agent(OpenAIChatModel("nothing", provider=provider())).run(c.HELLO), status_code=404
    )


@scripted
async def retries_after_429() -> Seen:
    output = (await Agent(chat()).run(c.BUSY)).output
    return output, output == "Here I am."


if __name__ == "__main__":
    run()
