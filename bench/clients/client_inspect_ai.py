"""inspect_ai: its models for OpenAI-compatible servers, and small evaluations."""

from __future__ import annotations

import os
from typing import Any

from bench.clients import checks as c

os.environ["FLIGHTLOOP_BASE_URL"] = c.URL  # read by the provider "openai-api/flightloop"

from inspect_ai import Task, eval_async
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig, ResponseSchema, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, tool
from inspect_ai.util import json_schema

from bench.clients.checks import MODEL, Seen, alike, check, raised_by, run, scripted
from bench.clients.shapes import Person

LOGS = "inspect_logs"
NAME = f"openai-api/flightloop/{MODEL}"


@tool
def add() -> Tool:
    async def execute(a: int, b: int) -> int:
        """Adds two numbers.

        Args:
            a: The first.
            b: The second.
        """
        return a + b

    return execute


@tool
def weather() -> Tool:
    async def execute(city: str) -> str:
        """Tells the weather in a city.

        Args:
            city: The city.
        """
        return f"sunny in {city}"

    return execute


async def evaluated(question: str, target: str, solver: Any, **more: Any) -> Any:
    task = Task(dataset=[Sample(input=question, target=target)], solver=solver, scorer=includes())
    return (await eval_async(task, model=NAME, log_dir=LOGS, **more))[0]


def accuracy(log: Any) -> float:
    value: float = log.results.scores[0].metrics["accuracy"].value
    return value


@check
async def generates() -> Seen:
    output = await get_model(NAME).generate(c.HELLO)
    return (output.completion, output.usage), alike(output.completion, c.SAID_HELLO) and output.stop_reason == "stop"


@check
async def usage() -> Seen:
    found = (await get_model(NAME).generate(c.HELLO)).usage
    return found, found is not None and found.total_tokens > 0


@check
async def generates_streamed() -> Seen:
    output = await get_model(NAME, stream=True).generate(c.HELLO)
    return output.completion, alike(output.completion, c.SAID_HELLO)


@check
async def generates_by_responses() -> Seen:
    output = await get_model(NAME, responses_api=True).generate(c.HELLO)
    return output.completion, alike(output.completion, c.SAID_HELLO)


@check
async def tool_call() -> Seen:
    output = await get_model(NAME).generate([ChatMessageUser(content=c.ADD)], tools=[add()])
    calls = output.message.tool_calls or []
    return calls, bool(calls) and calls[0].function == "add" and calls[0].arguments.keys() == {"a", "b"}


@check
async def structured() -> Seen:
    wanted = GenerateConfig(response_schema=ResponseSchema(name="person", json_schema=json_schema(Person)))
    output = await get_model(NAME, config=wanted).generate(c.PERSON)
    return output.completion, bool(Person.model_validate_json(output.completion).name)


@check
async def evaluation() -> Seen:
    log = await evaluated(c.HELLO, "Hello", generate())
    return (log.status, log.stats.model_usage), log.status == "success" and log.stats.model_usage[NAME].total_tokens > 0


@check
async def evaluation_with_tool() -> Seen:
    log = await evaluated(c.ADD, "5", [use_tools(add()), generate()])
    roles = [message.role for message in log.samples[0].messages]
    return (roles, accuracy(log)), "tool" in roles and (not c.SCRIPTED or accuracy(log) == 1)


@scripted
async def evaluation_of_two_tools() -> Seen:
    log = await evaluated(c.WEATHER, "42", [use_tools(add(), weather()), generate()])
    return log.samples[0].output.completion, log.samples[0].output.completion == c.SAID_WEATHER


@scripted
async def react_agent() -> Seen:
    log = await evaluated(c.SUBMIT, "5", react(tools=[add()]))
    return (log.status, log.samples[0].output.completion), log.status == "success" and accuracy(log) == 1


@check
async def epochs() -> Seen:
    log = await evaluated(c.HELLO, "Hello", generate(), epochs=4)
    return len(log.samples), log.status == "success" and len(log.samples) == 4


@check
async def evaluation_by_responses() -> Seen:
    log = await evaluated(c.ADD, "5", [use_tools(add()), generate()], model_args={"responses_api": True})
    roles = [message.role for message in log.samples[0].messages]
    return (log.status, roles), log.status == "success" and "tool" in roles


@check
async def error_401() -> Seen:
    return await raised_by(Exception, get_model(NAME, api_key="nobody's key").generate(c.HELLO), status_code=401)


@check
async def context_length() -> Seen:
    output = await get_model(NAME).generate("word " * 9000)
    return output.stop_reason, output.stop_reason == "model_length"


if __name__ == "__main__":
    run()
