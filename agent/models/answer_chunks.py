"""Builds the chunks of scripted answers: text, plans and calls."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from agent.run.history import dump
from flightloop.chat import (
    ChatChunk,
    ChunkChoice,
    Delta,
    FinishReason,
    FunctionDelta,
    ResponseExtension,
    ToolCallDelta,
    Usage,
)

Turn = list[ChatChunk | Exception | Awaitable[None]]
"""One answer: chunks in order. An exception is raised and an awaitable awaited at its position."""


def text(
    *pieces: str,
    finish: FinishReason = "stop",
    usage: Usage | None = None,
    confidence: float = 0.9,
    withheld: float | None = None,
) -> Turn:
    """A text answer with one chunk per piece; with ``withheld``, in place of calls of this confidence."""
    return [
        *(_chunk(Delta(content=piece)) for piece in pieces),
        _last(finish, usage or _usage(len(pieces)), confidence, withheld),
    ]


def plan(goal: str, *tools: str) -> Turn:
    return text(dump({"goal": goal, "tools": list(tools)}))


def calls(*wanted: tuple[str, dict[str, Any] | str], confidence: float = 0.8) -> Turn:
    """Tool calls by name and arguments; a string is sent unchanged, valid or not."""
    deltas = [
        ToolCallDelta(
            index=index,
            id=f"c{index}",
            type="function",
            function=FunctionDelta(name=name, arguments=given if isinstance(given, str) else dump(given)),
        )
        for index, (name, given) in enumerate(wanted)
    ]
    return [_chunk(Delta(tool_calls=deltas)), _last("tool_calls", _usage(10), confidence)]


def _chunk(delta: Delta) -> ChatChunk:
    return ChatChunk(id="fake", created=0, model="fake", choices=[ChunkChoice(delta=delta)])


def _last(finish: FinishReason, usage: Usage, confidence: float, withheld: float | None = None) -> ChatChunk:
    choice = ChunkChoice(finish_reason=finish)
    told = ResponseExtension(confidence=confidence, withheld=withheld)
    return ChatChunk(id="fake", created=0, model="fake", choices=[choice], usage=usage, flightloop=told)


def _usage(completion: int, prompt: int = 20) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
