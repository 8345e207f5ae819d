"""Workloads that need real text: tool calls, copied text, WikiText-2."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from flightloop.chat import ChatMessage, ChatRequest, ToolDef
from flightloop.content import TextPart
from model.chat.compact import encode
from model.engine.vocabulary import Vocabulary
from model.weights.tokenizer import Tokenizer
from tools.registry import Registry

MOST_TOKENS = 96
"""Limit of a tool call."""

_INSTRUCTIONS = (
    "You are the customer service of an online shop. Look things up with the tools, then answer in one or two "
    "sentences with the facts that the tools returned. If a tool refuses, tell the customer why."
)
_WISHES = (
    "Please cancel order {order}, I ordered the wrong size.",
    "Where is my parcel? The order is {order}.",
    "I sent order {order} back a week ago and want my money.",
    "Please send order {order} to Main Road {house}, 10115 Berlin instead.",
    "What did I order last? My customer number is {customer}.",
    "My address is anna.{house}@example.org, which orders do you have of me?",
    "Order {order} arrived broken, refund me.",
    "I want to talk to a person about order {order}.",
)


def call_requests(model: str, count: int, turn: int) -> list[ChatRequest]:
    """Requests of a shop's customers, each answered by one tool call, with other numbers in every round."""
    tools = shop_tools()
    requests = []
    for each in range(count):
        number = turn * count + each
        wish = _WISHES[each % len(_WISHES)].format(
            order=10_000 + 37 * number, house=1 + number % 199, customer=1 + 13 * number
        )
        requests.append(
            ChatRequest(
                model=model,
                messages=[_message("system", _INSTRUCTIONS), _message("user", wish)],
                tools=tools,
                tool_choice="required",
                parallel_tool_calls=False,
                temperature=0,
                max_tokens=MOST_TOKENS,
            )
        )
    return requests


def shop_tools() -> list[ToolDef]:
    """Definitions of the shop's tools for requests."""
    registry = Registry.load(["examples.support.tools"])
    return registry.definitions([spec.name for spec in registry.specs()])


def as_tasks(requests: Sequence[ChatRequest], vocabulary: Vocabulary, limit: int) -> list[dict[str, Any]]:
    """The same requests for engines that take token ids and a JSON Schema (of a list with one call).

    ``vocabulary`` and ``limit`` (of prompt and answer, in tokens) are those of our engine.
    """
    return [
        {
            "prompt": encode(request, vocabulary.tokenizer, limit),
            "schema": _schema(request.tools or []),
            "most": request.max_tokens,
        }
        for request in requests
    ]


def _schema(tools: Sequence[ToolDef]) -> dict[str, Any]:
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.function.name}, "arguments": tool.function.parameters},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return {"type": "array", "items": {"anyOf": calls}, "minItems": 1, "maxItems": 1}


def _message(role: Any, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=[TextPart(text=text)])


def copied(tokenizer: Tokenizer, turn: int) -> list[int]:
    """A prompt that a model continues by copying: a list of orders twice, and the beginning of a third copy."""
    lines = [
        f"Order {10_000 + 37 * number}: sent to Main Road {1 + number * 7 % 199}, parcel BV{991 * number:07d}.\n"
        for number in range(20 * turn, 20 * turn + 12)
    ]
    text = "".join(lines)
    return tokenizer.encode(text + "\n" + text + "\n" + lines[0])


def wikitext(folder: Path, tokenizer: Tokenizer) -> list[int]:
    """Token ids of the test part of WikiText-2.

    Args:
        folder: folder with ``wikitext2.tar.xz`` or its content.
        tokenizer: the model's tokenizer.

    Raises:
        BenchError: the text is missing.
    """
    archive = folder / "wikitext2.tar.xz"
    if archive.is_file():
        with tarfile.open(archive) as opened:
            member = next(member for member in opened if member.name.endswith("wikitext-2/test.txt"))
            stream = opened.extractfile(member)
            assert stream is not None
            return tokenizer.encode(stream.read().decode())
    found = sorted(folder.rglob("wikitext-2/test.txt"))
    if not found:
        raise BenchError(f"neither {archive} nor wikitext-2/test.txt is in {folder}; give its folder with --data DIR")
    return tokenizer.encode(found[0].read_text())
