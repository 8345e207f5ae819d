"""The Responses API of OpenAI's client for Python."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, raised, run, scripted
from bench.clients.shapes import Person

client = OpenAI(base_url=URL, api_key=KEY)
TOOL: Any = {"type": "function", "name": "add", "description": "Adds two.", "parameters": c.ADD_SCHEMA, "strict": True}


@check
def responses() -> Seen:
    answer = client.responses.create(model=MODEL, input=c.HELLO)
    ok = answer.status == "completed" and answer.usage is not None and answer.usage.total_tokens > 0
    return answer.output_text, ok and alike(answer.output_text, c.SAID_HELLO)


@check
def responses_instructions_and_items() -> Seen:
    items: Any = [{"role": "user", "content": [{"type": "input_text", "text": c.HELLO}]}]
    answer = client.responses.create(model=MODEL, instructions="Be kind.", input=items, metadata={"case": "1"})
    return answer.output_text, alike(answer.output_text, c.SAID_HELLO) and answer.metadata == {"case": "1"}


@check
async def responses_async() -> Seen:
    async with AsyncOpenAI(base_url=URL, api_key=KEY) as asynchronous:
        answer = await asynchronous.responses.create(model=MODEL, input=c.HELLO)
    return answer.output_text, alike(answer.output_text, c.SAID_HELLO)


@check
def responses_stream() -> Seen:
    events = list(client.responses.create(model=MODEL, input=c.HELLO, stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    kinds = [events[0].type, events[-1].type]
    ordered = [event.sequence_number for event in events] == list(range(len(events)))
    return (text, kinds), alike(text, c.SAID_HELLO) and kinds == ["response.created", "response.completed"] and ordered


@check
def responses_stream_helper() -> Seen:
    with client.responses.stream(model=MODEL, input=c.HELLO) as events:
        kinds = {event.type for event in events}
        text = events.get_final_response().output_text
    return (sorted(kinds), text), alike(text, c.SAID_HELLO)


@check
def responses_tool() -> Seen:
    first = client.responses.create(model=MODEL, input=c.ADD, tools=[TOOL])
    call: Any = next(item for item in first.output if item.type == "function_call")
    items: Any = [{"role": "user", "content": c.ADD}, *first.output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "5"})
    text = client.responses.create(model=MODEL, input=items, tools=[TOOL]).output_text
    return (call, text), json.loads(call.arguments).keys() == {"a", "b"} and alike(text, c.SAID_SUM)


@check
def responses_tool_stream() -> Seen:
    with client.responses.stream(model=MODEL, input=c.ADD, tools=[TOOL]) as events:
        kinds = {event.type for event in events}
        calls: Any = [item for item in events.get_final_response().output if item.type == "function_call"]
    ok = "response.function_call_arguments.done" in kinds and len(calls) == 1
    return calls, ok and json.loads(calls[0].arguments).keys() == {"a", "b"}


@scripted
def responses_parallel_tools() -> Seen:
    output: Any = client.responses.create(model=MODEL, input=c.ADD_TWICE, tools=[TOOL]).output
    given = [json.loads(item.arguments)["a"] for item in output if item.type == "function_call"]
    return given, given == [2, 4]


@check
def responses_parse() -> Seen:
    parsed = client.responses.parse(model=MODEL, input=c.PERSON, text_format=Person).output_parsed
    return parsed, isinstance(parsed, Person)


@check
def responses_parse_stream() -> Seen:
    with client.responses.stream(model=MODEL, input=c.PERSON, text_format=Person) as events:
        parsed = events.get_final_response().output_parsed
    return parsed, isinstance(parsed, Person)


@check
def responses_error_stateful() -> Seen:
    ask = lambda: client.responses.create(model=MODEL, input=c.HELLO, previous_response_id="resp_x")  # noqa: E731
    return raised(openai.BadRequestError, ask, param="previous_response_id")


@check
def responses_raw() -> Seen:
    raw = client.responses.with_raw_response.create(model=MODEL, input=c.HELLO)
    found = raw.headers.get("x-request-id")
    return found, bool(found) and alike(raw.parse().output_text, c.SAID_HELLO)


@check
def responses_error_400() -> Seen:
    ask = lambda: client.responses.create(model=MODEL, input=c.HELLO, max_output_tokens=0)  # noqa: E731
    return raised(openai.BadRequestError, ask, param="max_output_tokens")


@check
def responses_error_orphaned_output() -> Seen:
    orphan: Any = [{"type": "function_call_output", "call_id": "call_x", "output": "5"}]
    return raised(openai.BadRequestError, lambda: client.responses.create(model=MODEL, input=orphan), status_code=400)


@check
def responses_error_404() -> Seen:
    ask = lambda: client.responses.create(model="nothing", input=c.HELLO)  # noqa: E731
    return raised(openai.NotFoundError, ask, param="model")


@scripted
def responses_cancelled_stream() -> Seen:
    before = c.left()
    with client.responses.create(model=MODEL, input=c.ENDLESS, stream=True) as events:
        first = next(event for event in events if event.type == "response.output_text.delta")
    return first.delta, c.left(more_than=before) == before + 1


if __name__ == "__main__":
    run()
