"""The most expensive requests that the API accepts, by kind, and a process that sends one kind without pause."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Event
from typing import Any

import httpx

from flightloop import limits

AT_ONCE = 8
LONGEST = 199_000
"""Longest message that the default policy accepts, in characters."""
SLOW_WORDS = "4 1 1 1 "
"""The slowest of all texts that were tried with the guards: each digit could begin a card number."""

Flood = tuple[str, str, Callable[[str], dict[str, Any] | None]]
"""Method, path, and a function that makes the body for a model's name."""


def _chat(**fields: Any) -> Flood:
    def body(model: str) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}

    return "POST", "/v1/chat/completions", body


def _text(characters: int, words: str = SLOW_WORDS) -> str:
    return (words * (characters // len(words) + 1))[:characters]


def _tool(index: int, parameters: dict[str, Any], description: str = "") -> dict[str, Any]:
    function = {"name": f"tool_{index}", "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def _object(properties: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{index}": {"type": "string"} for index in range(properties)}}


def _calls() -> list[dict[str, Any]]:
    made = [
        {"id": f"c{index}", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, 2, 3]}'}}
        for index in range(limits.CALLS)
    ]
    return [{"role": "assistant", "content": None, "tool_calls": made}, {"role": "user", "content": "go on"}]


def _said(count: int) -> list[dict[str, Any]]:
    return [{"role": "user" if index % 2 else "assistant", "content": f"line {index}"} for index in range(count)]


def _messages() -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"line {index} to bob{index}@example.com"} for index in range(limits.MESSAGES)]


def _long() -> list[dict[str, Any]]:
    return [{"role": "user", "content": _text(LONGEST)} for _ in range(limits.TEXT_CHARS // LONGEST)]


def _run(model: str) -> dict[str, Any]:
    return {"agent": "support", "input": _text(limits.TEXT_CHARS, "line "), "metadata": {"a": "b" * 4000}}


FLOODS: dict[str, Flood] = {
    "small": _chat(),
    "messages": _chat(messages=_messages()),
    "long_messages": _chat(messages=_long()),
    "long_stream": _chat(messages=_long(), stream=True),
    "system": _chat(messages=[{"role": "system", "content": _text(limits.TEXT_CHARS - 50)}, *_said(2)]),
    "parts": _chat(messages=[{"role": "user", "content": [{"type": "text", "text": "line"}] * limits.PARTS}]),
    "calls": _chat(messages=_calls()),
    "tools": _chat(tools=[_tool(index, _object(40), "d" * 16_000) for index in range(limits.TOOLS)]),
    "schema": _chat(
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": _object(1600)}}
    ),
    "stops": _chat(stop=["x" * limits.STOP_CHARS] * limits.STOPS),
    "ignored_items": _chat(logit_bias={str(index): 1 for index in range(190_000)}),
    "ignored_lists": _chat(unknown=[[]] * 199_000),
    "responses": (
        "POST",
        "/v1/responses",
        lambda model: {"model": model, "input": _said(limits.MESSAGES), "metadata": {"a": "b" * 4000}},
    ),
    "runs": ("POST", "/v1/runs", _run),
    "run_list": ("GET", "/v1/runs?limit=200", lambda model: None),
}


def flood(url: str, key: str, model: str, kind: str, stop: Event, sent: Any) -> None:
    """Main function of a process that sends requests of a kind, several at once, until ``stop`` is set.

    Args:
        sent: a shared array that counts answers by the first digit of their status.
    """
    method, path, body = FLOODS[kind]
    document = body(model)
    content = None if document is None else json.dumps(document).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def send() -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
            while not stop.is_set():
                try:
                    status = client.request(method, path, content=content).status_code
                except httpx.HTTPError:
                    status = 599
                with sent.get_lock():
                    sent[min(status // 100, 5)] += 1

    threads = [threading.Thread(target=send, daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    stop.wait()
