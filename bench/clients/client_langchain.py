"""LangChain's client for OpenAI-compatible servers, and LangGraph's agents on it."""

from __future__ import annotations

from typing import Any

import openai
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, raised, run, scripted
from bench.clients.shapes import Circle, Drawing, Person

MADE: list[str] = []


def chat(**more: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": MODEL, "base_url": URL, "api_key": SecretStr(KEY), "stream_usage": True, **more})


model, responses = chat(), chat(use_responses_api=True)


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    MADE.append("add")
    return a + b


@tool
def weather(city: str) -> str:
    """Tells the weather in a city."""
    MADE.append("weather")
    return f"sunny in {city}"


def invoked(chosen: ChatOpenAI) -> Seen:
    answer = chosen.invoke(c.HELLO)
    usage = answer.usage_metadata
    return (answer.text, usage), alike(str(answer.text), c.SAID_HELLO) and bool(usage and usage["total_tokens"])


def streamed(chosen: ChatOpenAI) -> Seen:
    chunks = list(chosen.stream(c.HELLO))
    whole: Any = sum(chunks[1:], start=chunks[0])
    usage = whole.usage_metadata
    return (whole.text, usage), alike(str(whole.text), c.SAID_HELLO) and bool(usage and usage["total_tokens"])


def bound(chosen: ChatOpenAI) -> Seen:
    able = chosen.bind_tools([add])
    first = able.invoke(c.ADD)
    call = first.tool_calls[0]
    result = ToolMessage("5", tool_call_id=str(call["id"]))
    text = str(able.invoke([HumanMessage(c.ADD), first, result]).text)
    return (call, text), call["args"].keys() == {"a", "b"} and alike(text, c.SAID_SUM)


def acted(chosen: ChatOpenAI) -> Seen:
    MADE.clear()
    agent: Any = create_agent(chosen, [add, weather], system_prompt="Use the tools.")
    text = str(agent.invoke({"messages": [("user", c.WEATHER)]})["messages"][-1].text)
    return (MADE, text), alike(MADE, ["weather", "add"]) and alike(text, c.SAID_WEATHER)


@check
def invoke() -> Seen:
    return invoked(model)


@check
def invoke_responses() -> Seen:
    return invoked(responses)


@check
async def ainvoke() -> Seen:
    text = str((await model.ainvoke(c.HELLO)).text)
    return text, alike(text, c.SAID_HELLO)


@check
def batch() -> Seen:
    texts = [str(answer.text) for answer in model.batch([c.HELLO, c.HELLO])]
    return texts, len(texts) == 2 and alike(texts[1], c.SAID_HELLO)


@check
def stream_with_usage() -> Seen:
    return streamed(model)


@check
def stream_with_usage_responses() -> Seen:
    return streamed(responses)


@check
def bind_tools() -> Seen:
    return bound(model)


@check
def bind_tools_responses() -> Seen:
    return bound(responses)


@scripted
def parallel_tools() -> Seen:
    calls = model.bind_tools([add]).invoke(c.ADD_TWICE).tool_calls
    return calls, [call["args"]["a"] for call in calls] == [2, 4]


@check
def structured_json_schema() -> Seen:
    person: Any = model.with_structured_output(Person, method="json_schema").invoke(c.PERSON)
    return person, isinstance(person, Person)


@check
def structured_function_calling() -> Seen:
    person: Any = model.with_structured_output(Person, method="function_calling").invoke(c.PERSON)
    return person, isinstance(person, Person)


@check
def structured_json_mode() -> Seen:
    ask = f"{c.PERSON} As JSON with name, age, and address with city and country."
    person: Any = model.with_structured_output(Person, method="json_mode").invoke(ask)
    return person, isinstance(person, Person)


@check
def structured_union() -> Seen:
    drawing: Any = model.with_structured_output(Drawing, method="json_schema").invoke(c.CIRCLE)
    return drawing, isinstance(drawing.shape, Circle)


@check
def agent() -> Seen:
    return acted(model)


@check
def agent_responses() -> Seen:
    return acted(responses)


@check
def agent_stream() -> Seen:
    agent: Any = create_agent(model, [add, weather], system_prompt="Use the tools.")
    tokens = [chunk for chunk, _ in agent.stream({"messages": [("user", c.WEATHER)]}, stream_mode="messages")]
    text = "".join(str(token.text) for token in tokens if token.type == "AIMessageChunk")
    return text, alike(text, c.SAID_WEATHER)


@check
def agent_remembers() -> Seen:
    agent: Any = create_agent(model, [add], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "one"}}
    agent.invoke({"messages": [("user", c.ADD)]}, thread)
    messages = agent.invoke({"messages": [("user", c.HELLO)]}, thread)["messages"]
    return len(messages), len(messages) >= 4 and alike(str(messages[-1].text), c.SAID_HELLO)


@check
def agent_structured() -> Seen:
    agent: Any = create_agent(model, [], response_format=Person)
    person = agent.invoke({"messages": [("user", c.PERSON)]})["structured_response"]
    return person, isinstance(person, Person)


@check
def error_401() -> Seen:
    stranger = chat(api_key=SecretStr("nobody's key"))
    return raised(openai.AuthenticationError, lambda: stranger.invoke(c.HELLO), status_code=401)


@check
def error_context_length() -> Seen:
    return raised(openai.BadRequestError, lambda: model.invoke("word " * 9000), code="context_length_exceeded")


@scripted
def retries_after_429() -> Seen:
    text = str(model.invoke(c.BUSY).text)
    return text, text == "Here I am."


if __name__ == "__main__":
    run()
