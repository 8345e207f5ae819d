"""Puts an answer together from its chunks."""

from __future__ import annotations

from flightloop.chat import (
    ChatChunk,
    ChunkChoice,
    FunctionCall,
    ResponseExtension,
    ToolCall,
    ToolCallDelta,
    Usage,
)


class Collected:
    """An answer as far as it has come. ``tokens`` counts chunks: an estimate until usage arrives."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: list[ToolCall] = []
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.extension = ResponseExtension()
        self.tokens = 0

    def add(self, chunk: ChatChunk) -> str:
        """Takes one chunk in; returns the text it brought."""
        self.usage = chunk.usage or self.usage
        self.extension = chunk.flightloop or self.extension
        return "".join(self._choice(choice) for choice in chunk.choices if choice.index == 0)

    def _choice(self, choice: ChunkChoice) -> str:
        self.finish_reason = choice.finish_reason or self.finish_reason
        text = choice.delta.content or ""
        self.text += text
        for delta in choice.delta.tool_calls or []:
            self._call(delta)
        self.tokens += bool(text or choice.delta.tool_calls)
        return text

    def _call(self, delta: ToolCallDelta) -> None:
        while len(self.calls) <= delta.index:
            self.calls.append(ToolCall(id="", function=FunctionCall(name="", arguments="")))
        call = self.calls[delta.index]
        call.id = delta.id or call.id
        call.function.name += delta.function.name or ""
        call.function.arguments += delta.function.arguments or ""
