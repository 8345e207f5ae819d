"""Messages on spans, by OpenTelemetry's conventions."""

from __future__ import annotations

import json

from flightloop.chat import ChatMessage, FunctionCall, ToolCall
from observability.messages import MOST_CHARS, input_messages, output_messages


def call(arguments: str) -> ToolCall:
    return ToolCall(id="c1", function=FunctionCall(name="add", arguments=arguments))


def test_roles_and_parts_as_the_conventions_name_them():
    asked = [
        ChatMessage(role="system", content="Be kind."),
        ChatMessage(role="assistant", content="So:", tool_calls=[call('{"a": 1}')]),
        ChatMessage(role="tool", content="3", tool_call_id="c1"),
    ]
    assert json.loads(input_messages(asked)) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "So:"},
                {"type": "tool_call", "id": "c1", "name": "add", "arguments": {"a": 1}},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "3"}]},
    ]
    assert json.loads(output_messages("ü", [], "stop")) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "ü"}], "finish_reason": "stop"}
    ]


def test_what_is_long_is_cut_and_what_is_no_object_is_text():
    long = "x" * (2 * MOST_CHARS)
    (message,) = json.loads(output_messages(long, [call(long), call("[1]")], None))
    text, cut, odd = message["parts"]
    assert text["content"] == cut["arguments"] == long[:MOST_CHARS] + "…"
    assert odd["arguments"] == {"unparsed": "[1]"}
    assert message["finish_reason"] == "error"
