"""LlamaIndex: its model for OpenAI-compatible servers, and its agents."""

from __future__ import annotations

from typing import Any

import openai
from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ReActAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, raised, run, scripted
from bench.clients.shapes import Person

MADE: list[str] = []


def model(key: str = KEY, **more: Any) -> OpenAILike:
    MADE.clear()
    settings = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 4096, **more}
    return OpenAILike(model=MODEL, api_base=URL, api_key=key, **settings)


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    MADE.append("add")
    return a + b


def weather(city: str) -> str:
    """Tells the weather in a city."""
    MADE.append("weather")
    return f"sunny in {city}"


def question(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


@check
def complete() -> Seen:
    text = model().complete(c.HELLO).text
    return text, alike(text, c.SAID_HELLO)


@check
def chat() -> Seen:
    text = model().chat(question(c.HELLO)).message.content
    return text, alike(text, c.SAID_HELLO)


@check
async def achat() -> Seen:
    text = (await model().achat(question(c.HELLO))).message.content
    return text, alike(text, c.SAID_HELLO)


@check
def stream_chat() -> Seen:
    pieces = [piece.delta or "" for piece in model().stream_chat(question(c.HELLO))]
    return pieces, alike("".join(pieces), c.SAID_HELLO) and len(pieces) > 2


@check
async def astream_chat() -> Seen:
    stream = await model().astream_chat(question(c.HELLO))
    text = "".join([piece.delta or "" async for piece in stream])
    return text, alike(text, c.SAID_HELLO)


@check
def usage() -> Seen:
    raw: Any = model().chat(question(c.HELLO)).raw
    return raw.usage, raw.usage.total_tokens > 0


@check
def chat_with_tools() -> Seen:
    llm = model()
    calls = llm.get_tool_calls_from_response(llm.chat_with_tools([FunctionTool.from_defaults(add)], c.ADD))
    return calls, calls[0].tool_name == "add" and calls[0].tool_kwargs.keys() == {"a", "b"}


@check
def predict_and_call() -> Seen:
    answer = model().predict_and_call([FunctionTool.from_defaults(add)], c.ADD)
    return answer.response, "add" in MADE


@check
def structured_predict() -> Seen:
    person = model().structured_predict(Person, PromptTemplate(c.PERSON))
    return person, isinstance(person, Person)


@check
def structured_native() -> Seen:
    person = model(should_use_structured_outputs=True).as_structured_llm(Person).chat(question(c.PERSON)).raw
    return person, isinstance(person, Person)


@check
async def function_agent() -> Seen:
    agent = FunctionAgent(tools=[add, weather], llm=model(), system_prompt="Use the tools.")
    text = str(await agent.run(c.WEATHER))
    return (MADE, text), alike(MADE, ["weather", "add"]) and alike(text, c.SAID_WEATHER)


@check
async def function_agent_stream() -> Seen:
    agent = FunctionAgent(tools=[add, weather], llm=model(), system_prompt="Use the tools.")
    running = agent.run(c.ADD)
    text = "".join([event.delta async for event in running.stream_events() if isinstance(event, AgentStream)])
    final = str(await running)
    return (MADE, text, final), bool(MADE) and final in text and alike(final, c.SAID_SUM)


@scripted
async def parallel_tools() -> Seen:
    text = str(await FunctionAgent(tools=[add], llm=model()).run(c.ADD_TWICE))
    return (MADE, text), MADE == ["add", "add"] and text == c.SAID_SUMS


@scripted
async def react_agent() -> Seen:
    text = str(await ReActAgent(tools=[add], llm=model()).run(c.REACT))
    return (MADE, text), MADE == ["add"] and text == "It is 5."


@check
def error_401() -> Seen:
    stranger = model("nobody's key")
    return raised(openai.AuthenticationError, lambda: stranger.chat(question(c.HELLO)), status_code=401)


@scripted
def retries_after_429() -> Seen:
    text = model().chat(question(c.BUSY)).message.content
    return text, text == "Here I am."


if __name__ == "__main__":
    run()
