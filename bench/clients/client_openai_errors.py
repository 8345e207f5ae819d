"""Errors, retries and cancellation of OpenAI's client for Python."""

from __future__ import annotations

import time
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

from bench.clients import checks as c
from bench.clients.checks import KEY, MODEL, URL, Seen, check, raised, raised_by, run, scripted

client = OpenAI(base_url=URL, api_key=KEY)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
REPLY: Any = {"model": MODEL, "messages": [{"role": "user", "content": c.HELLO}]}


def asked(text: str, **more: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


@check
def error_401() -> Seen:
    stranger = client.with_options(api_key="nobody's key")
    return raised(openai.AuthenticationError, lambda: stranger.models.list(), status_code=401, code="unauthorized")


@check
def error_404_model() -> Seen:
    ask = lambda: client.chat.completions.create(**{**REPLY, "model": "nothing"})  # noqa: E731
    return raised(openai.NotFoundError, ask, status_code=404, param="model")


@check
def error_404_path() -> Seen:
    return raised(openai.NotFoundError, lambda: client.embeddings.create(model=MODEL, input="x"), status_code=404)


@check
def error_400() -> Seen:
    return raised(openai.BadRequestError, lambda: asked(c.HELLO, temperature=9), status_code=400, param="temperature")


@check
def error_400_in_a_stream() -> Seen:
    return raised(openai.BadRequestError, lambda: asked(c.HELLO, stream=True, top_p=7), param="top_p")


@check
def error_400_orphaned_tool_message() -> Seen:
    orphan: Any = [{"role": "user", "content": c.HELLO}, {"role": "tool", "tool_call_id": "call_x", "content": "5"}]
    ask = lambda: client.chat.completions.create(model=MODEL, messages=orphan)  # noqa: E731
    return raised(openai.BadRequestError, ask, status_code=400)


@check
def error_400_image() -> Seen:
    """An image too small to be read."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": c.HELLO}, image]}]
    ask = lambda: client.chat.completions.create(model=MODEL, messages=parts)  # noqa: E731
    return raised(openai.BadRequestError, ask, status_code=400, code="invalid_request")


@check
def error_context_length() -> Seen:
    ask = lambda: asked("word " * 9000)  # noqa: E731
    return raised(openai.BadRequestError, ask, code="context_length_exceeded", type="invalid_request_error")


@check
def error_429_budget() -> Seen:
    poor = OpenAI(base_url=URL, api_key=c.POOR_KEY)
    began = time.monotonic()
    seen, ok = raised(openai.RateLimitError, lambda: poor.chat.completions.create(**REPLY), code="budget_exhausted")
    return (seen, f"{time.monotonic() - began:.1f} s"), ok


@scripted
def error_429_busy() -> Seen:
    hasty = client.with_options(max_retries=0)
    messages: Any = [{"role": "user", "content": c.ALWAYS_BUSY}]
    ask = lambda: hasty.chat.completions.create(model=MODEL, messages=messages)  # noqa: E731
    return raised(openai.RateLimitError, ask, status_code=429, type="rate_limit_error")


@scripted
def retries_after_429() -> Seen:
    text = asked(c.BUSY).choices[0].message.content
    return text, text == "Here I am."


@scripted
async def error_503() -> Seen:
    async with AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as hasty:
        messages: Any = [{"role": "user", "content": c.BROKEN}]
        ask = hasty.chat.completions.create(model=MODEL, messages=messages)
        return await raised_by(openai.InternalServerError, ask, status_code=503, code="model_unavailable")


@check
def timeout() -> Seen:
    hasty = client.with_options(timeout=0.001, max_retries=0)
    return raised(openai.APITimeoutError, lambda: hasty.chat.completions.create(**REPLY))


@scripted
def cancelled_stream() -> Seen:
    before = c.left()
    with asked(c.ENDLESS, stream=True) as chunks:
        first = next(iter(chunks))
    return first.choices[0].delta, c.left(more_than=before) == before + 1


if __name__ == "__main__":
    run()
