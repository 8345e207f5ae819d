"""OpenAI's client for Python."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, embedded, raised, run, scripted
from bench.clients.shapes import Circle, Drawing, Person

client = OpenAI(base_url=URL, api_key=KEY)
TOOL: Any = c.ADD_TOOL
REPLY: Any = {"model": MODEL, "messages": [{"role": "user", "content": c.HELLO}]}


def asked(text: str, **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


def numbers(arguments: str) -> bool:
    return set(json.loads(arguments)) == {"a", "b"}


@check
def completion() -> Seen:
    answer = asked(c.HELLO)
    choice = answer.choices[0]
    ok = choice.finish_reason == "stop" and choice.message.role == "assistant" and answer.model == MODEL
    return choice.message.content, ok and alike(choice.message.content, c.SAID_HELLO)


@check
def usage() -> Seen:
    found = asked(c.HELLO).usage
    return found, found.total_tokens == found.prompt_tokens + found.completion_tokens > 0


@check
async def completion_async() -> Seen:
    async with AsyncOpenAI(base_url=URL, api_key=KEY) as asynchronous:
        answer = await asynchronous.chat.completions.create(**REPLY)
    return answer.choices[0].message.content, alike(answer.choices[0].message.content, c.SAID_HELLO)


@check
def stream() -> Seen:
    chunks = list(asked(c.HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason]
    same_id = len({chunk.id for chunk in chunks}) == 1
    live = sum(bool(chunk.choices[0].delta.content) for chunk in chunks) > 1
    return (text, ends), alike(text, c.SAID_HELLO) and ends == ["stop"] and same_id and live


@check
async def stream_async() -> Seen:
    async with AsyncOpenAI(base_url=URL, api_key=KEY) as asynchronous:
        chunks = await asynchronous.chat.completions.create(**REPLY, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
    return text, alike(text, c.SAID_HELLO)


@check
def stream_usage() -> Seen:
    last = list(asked(c.HELLO, stream=True, stream_options={"include_usage": True}))[-1]
    return last.usage, last.choices == [] and last.usage.total_tokens > 0


@check
def stream_helper() -> Seen:
    with client.chat.completions.stream(**REPLY) as events:
        kinds = {event.type for event in events}
        final = events.get_final_completion()
    text = final.choices[0].message.content
    return (sorted(kinds), text), {"chunk", "content.delta", "content.done"} <= kinds and alike(text, c.SAID_HELLO)


@check
def tool() -> Seen:
    choice = asked(c.ADD, tools=[TOOL]).choices[0]
    call = choice.message.tool_calls[0]
    ok = choice.finish_reason == "tool_calls" and call.function.name == "add" and call.id
    return call, bool(ok) and numbers(call.function.arguments)


@check
def tool_result() -> Seen:
    message = asked(c.ADD, tools=[TOOL]).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "5"}
    messages: Any = [{"role": "user", "content": c.ADD}, message, result]
    text = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message.content
    return text, alike(text, c.SAID_SUM)


@check
def tool_stream() -> Seen:
    messages: Any = [{"role": "user", "content": c.ADD}]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=[TOOL]) as events:
        done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    return done, len(done) == 1 and done[0].name == "add" and numbers(done[0].arguments)


@scripted
def parallel_tools() -> Seen:
    calls = asked(c.ADD_TWICE, tools=[TOOL]).choices[0].message.tool_calls
    given = [json.loads(call.function.arguments) for call in calls]
    return calls, given == [{"a": 2, "b": 3}, {"a": 4, "b": 5}] and len({call.id for call in calls}) == 2


@scripted
def parallel_tools_stream() -> Seen:
    messages: Any = [{"role": "user", "content": c.ADD_TWICE}]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=[TOOL]) as events:
        calls = events.get_final_completion().choices[0].message.tool_calls or []
    return calls, [json.loads(call.function.arguments)["a"] for call in calls] == [2, 4]


@check
def tool_choice_required() -> Seen:
    calls = asked(c.ADD, tools=[TOOL], tool_choice="required").choices[0].message.tool_calls
    return calls, bool(calls) and calls[0].function.name == "add"


@check
def tool_choice_none() -> Seen:
    message = asked(c.HELLO, tools=[TOOL], tool_choice="none").choices[0].message
    return message, not message.tool_calls and bool(message.content)


@check
def structured_parse() -> Seen:
    messages: Any = [{"role": "user", "content": c.PERSON}]
    parsed = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Person).choices[0]
    person = parsed.message.parsed
    return person, person is not None and (not c.SCRIPTED or person.address.city == "London")


@check
def structured_union() -> Seen:
    messages: Any = [{"role": "user", "content": c.CIRCLE}]
    parsed = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Drawing).choices[0]
    return parsed.message.parsed, isinstance(parsed.message.parsed and parsed.message.parsed.shape, Circle)


@check
def structured_tool() -> Seen:
    messages: Any = [{"role": "user", "content": c.PERSON}]
    tool = openai.pydantic_function_tool(Person)
    chosen: Any = {"type": "function", "function": {"name": "Person"}}
    parsed = client.chat.completions.parse(model=MODEL, messages=messages, tools=[tool], tool_choice=chosen)
    calls = parsed.choices[0].message.tool_calls or []
    return calls, isinstance(calls[0].function.parsed_arguments, Person)


@check
def json_object() -> Seen:
    text = asked(c.PERSON + " As JSON.", response_format={"type": "json_object"}).choices[0].message.content
    return text, isinstance(json.loads(text), dict)


@check
def raw_response() -> Seen:
    raw = client.chat.completions.with_raw_response.create(**REPLY)
    text = raw.parse().choices[0].message.content
    return raw.headers.get("x-request-id"), bool(raw.headers.get("x-request-id")) and alike(text, c.SAID_HELLO)


@check
def streaming_response() -> Seen:
    with client.chat.completions.with_streaming_response.create(**REPLY) as response:
        document = json.loads(response.read())
    return document["object"], document["object"] == "chat.completion"


@check
def request_id() -> Seen:
    found = asked(c.HELLO)._request_id
    return found, bool(found)


@check
def choices() -> Seen:
    answer = asked(c.HELLO, n=3)
    return answer.usage, [choice.index for choice in answer.choices] == [0, 1, 2] and all(
        choice.message.content for choice in answer.choices
    )


@check
def choices_stream() -> Seen:
    texts = {0: "", 1: ""}
    for chunk in asked(c.HELLO, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    return texts, all(alike(text, c.SAID_HELLO) for text in texts.values())


@check
def models_list() -> Seen:
    cards = client.models.list().data
    return cards, MODEL in [card.id for card in cards] and all(card.object == "model" for card in cards)


@check
def models_retrieve() -> Seen:
    card = client.models.retrieve(MODEL)
    return card, card.id == MODEL and isinstance(card.created, int)


@check
def content_parts() -> Seen:
    text = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": [{"type": "text", "text": c.HELLO}]}]
    )
    return text.choices[0].message.content, alike(text.choices[0].message.content, c.SAID_HELLO)


@check
def structured_stream() -> Seen:
    messages: Any = [{"role": "user", "content": c.PERSON}]
    with client.chat.completions.stream(model=MODEL, messages=messages, response_format=Person) as events:
        final = events.get_final_completion()
    return final.choices[0].message.parsed, isinstance(final.choices[0].message.parsed, Person)


@check
def roles_and_parts() -> Seen:
    """A developer's message, and a tool's result as parts."""
    message = asked(c.ADD, tools=[TOOL]).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": [{"type": "text", "text": "5"}]}
    developer = {"role": "developer", "content": "Use the tool."}
    messages: Any = [developer, {"role": "user", "content": c.ADD}, message.model_dump(), result]
    text = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message.content
    return text, alike(text, c.SAID_SUM)


@check
def ignored_hints() -> Seen:
    hints: Any = {"reasoning_effort": "low", "service_tier": "auto", "metadata": {"a": "b"}, "prompt_cache_key": "k"}
    text = asked(c.HELLO, **hints, seed=7, logit_bias={"5": 1}).choices[0].message.content
    return text, alike(text, c.SAID_HELLO)


@embedded
def log_probabilities() -> Seen:
    found = asked(c.HELLO, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    return found[0], all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in found)


@embedded
def length() -> Seen:
    answer = asked(c.ENDLESS, max_completion_tokens=5)
    return answer.usage, answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens <= 5


@embedded
def length_while_parsing() -> Seen:
    messages: Any = [{"role": "user", "content": c.PERSON}]
    ask = lambda: client.chat.completions.parse(  # noqa: E731
        model=MODEL, messages=messages, response_format=Person, max_completion_tokens=5
    )
    return raised(openai.LengthFinishReasonError, ask)


@embedded
def stop_and_seed() -> Seen:
    texts = [asked(c.HELLO, seed=3, stop=["."]).choices[0].message.content for _ in range(2)]
    return texts, texts[0] == texts[1] and "." not in texts[0]


@check
def extra_headers_and_body() -> Seen:
    answer = asked(c.HELLO, extra_headers={"x-flightloop-agent": "tried"}, extra_body={"store": False}, user="u")
    return answer.id, bool(answer.choices[0].message.content)


if __name__ == "__main__":
    run()
