"""Formats messages as span attributes: ``gen_ai.input.messages`` and ``gen_ai.output.messages`` as JSON.

Source: OpenTelemetry semantic conventions for generative AI, "Recording content on attributes".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from flightloop.chat import ChatMessage, ToolCall

MOST_CHARS = 16_384
"""Maximum length of a text, arguments or a result: collectors reject large spans. Cut texts end with an ellipsis."""


def input_messages(messages: Iterable[ChatMessage]) -> str:
    """The model's input."""
    return _json([{"role": message.role, "parts": _parts(message)} for message in messages])


def output_messages(text: str, calls: Sequence[ToolCall], finish_reason: str | None) -> str:
    """The model's output as one message."""
    said = [{"type": "text", "content": _cut(text)}] if text else []
    parts = [*said, *map(_call, calls)]
    return _json([{"role": "assistant", "parts": parts, "finish_reason": finish_reason or "error"}])


def _parts(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": _cut(message.text)}]
    said = [{"type": "text", "content": _cut(message.text)}] if message.text else []
    return [*said, *map(_call, message.tool_calls or ())]


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = call.function.arguments
    shown = call.function.as_object() if len(arguments) <= MOST_CHARS else _cut(arguments)
    return {"type": "tool_call", "id": call.id, "name": call.function.name, "arguments": shown}


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
