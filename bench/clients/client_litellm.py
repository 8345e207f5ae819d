"""litellm, by its provider for OpenAI-compatible servers."""

from __future__ import annotations

import json
from typing import Any

import litellm

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, alike, check, raised, run, scripted
from bench.clients.shapes import Person

TARGET: Any = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": KEY}
TOOL: Any = c.ADD_TOOL


def asked(text: str, **more: Any) -> Any:
    return litellm.completion(**{**TARGET, **more}, messages=[{"role": "user", "content": text}])


@check
def completion() -> Seen:
    choice = asked(c.HELLO).choices[0]
    return choice.message.content, choice.finish_reason == "stop" and alike(choice.message.content, c.SAID_HELLO)


@check
def usage() -> Seen:
    found = asked(c.HELLO).usage
    return found, found.total_tokens == found.prompt_tokens + found.completion_tokens > 0


@check
async def acompletion() -> Seen:
    answer: Any = await litellm.acompletion(**TARGET, messages=[{"role": "user", "content": c.HELLO}])
    return answer.choices[0].message.content, alike(answer.choices[0].message.content, c.SAID_HELLO)


@check
def stream() -> Seen:
    chunks = list(asked(c.HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return text, alike(text, c.SAID_HELLO) and chunks[-1].choices[0].finish_reason == "stop"


@check
async def stream_async() -> Seen:
    chunks: Any = await litellm.acompletion(**TARGET, messages=[{"role": "user", "content": c.HELLO}], stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
    return text, alike(text, c.SAID_HELLO)


@check
def stream_usage() -> Seen:
    chunks = list(asked(c.HELLO, stream=True, stream_options={"include_usage": True}))
    found = [chunk.usage for chunk in chunks if getattr(chunk, "usage", None)]
    return found, bool(found) and found[-1].total_tokens > 0


@check
def stream_rebuilt() -> Seen:
    rebuilt: Any = litellm.stream_chunk_builder(list(asked(c.ADD, stream=True, tools=[TOOL])))
    call = rebuilt.choices[0].message.tool_calls[0]
    return call, call.function.name == "add" and json.loads(call.function.arguments).keys() == {"a", "b"}


@check
def tool_and_result() -> Seen:
    message = asked(c.ADD, tools=[TOOL]).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "5"}
    messages = [{"role": "user", "content": c.ADD}, message, result]
    answer: Any = litellm.completion(**TARGET, messages=messages, tools=[TOOL])
    text = answer.choices[0].message.content
    return text, alike(text, c.SAID_SUM)


@scripted
def parallel_tools() -> Seen:
    calls = asked(c.ADD_TWICE, tools=[TOOL]).choices[0].message.tool_calls
    return calls, [json.loads(call.function.arguments)["a"] for call in calls] == [2, 4]


@check
def structured() -> Seen:
    person = Person.model_validate_json(asked(c.PERSON, response_format=Person).choices[0].message.content)
    return person, bool(person.name)


@check
def choices() -> Seen:
    found = asked(c.HELLO, n=2).choices
    return found, [choice.index for choice in found] == [0, 1]


@check
def responses() -> Seen:
    answer: Any = litellm.responses(**TARGET, input=c.HELLO)
    text = answer.output[0].content[0].text
    return text, alike(text, c.SAID_HELLO)


@check
def error_401() -> Seen:
    return raised(litellm.AuthenticationError, lambda: asked(c.HELLO, api_key="nobody's key"), status_code=401)


@check
def error_404() -> Seen:
    return raised(litellm.NotFoundError, lambda: asked(c.HELLO, model="openai/nothing"), status_code=404)


@check
def error_400() -> Seen:
    return raised(litellm.BadRequestError, lambda: asked(c.HELLO, temperature=9), status_code=400)


@check
def error_context_length() -> Seen:
    return raised(litellm.ContextWindowExceededError, lambda: asked("word " * 9000), status_code=400)


@check
def error_429() -> Seen:
    return raised(litellm.RateLimitError, lambda: asked(c.HELLO, api_key=c.POOR_KEY), status_code=429)


@scripted
def error_503() -> Seen:
    return raised(litellm.ServiceUnavailableError, lambda: asked(c.BROKEN, max_retries=0), status_code=503)


@scripted
def retries_after_429() -> Seen:
    text = asked(c.BUSY, num_retries=3).choices[0].message.content
    return text, text == "Here I am."


@check
def router() -> Seen:
    entries: Any = [{"model_name": "ours", "litellm_params": TARGET}]
    answer: Any = litellm.Router(entries).completion("ours", [{"role": "user", "content": c.HELLO}])
    return answer.choices[0].message.content, alike(answer.choices[0].message.content, c.SAID_HELLO)


if __name__ == "__main__":
    run()
