"""Assembles an answer from the chunks that a model streams."""

from __future__ import annotations

from collections.abc import AsyncIterable

from flightloop.chat import (
    ChatChunk,
    ChatCompletion,
    Choice,
    ChoiceLogprobs,
    ChunkChoice,
    FinishReason,
    FunctionCall,
    ResponseExtension,
    ResponseMessage,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from flightloop.errors import ModelUnavailable

CHARACTERS = 4
"""Rough number of characters per token."""


def is_part(chunk: ChatChunk) -> bool:
    """Whether a chunk has a part of an answer: text, reasoning or calls."""
    return any(map(_is_part, chunk.choices))


def _is_part(choice: ChunkChoice) -> bool:
    delta = choice.delta
    return bool(delta.content or delta.reasoning_content or delta.tool_calls)


class Answer:
    """One choice of an answer, as received so far.

    Args:
        index: index of the choice.

    Attributes:
        pieces: text of the chunks.
        reasoning: what the model wrote before its answer.
        tokens: estimate until ``usage`` arrives: one per chunk with text or calls, more for long ones.
        characters: total length of the text, the reasoning and the calls' names and arguments.
    """

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.id = ""
        self.created = 0
        self.model = ""
        self.pieces: list[str] = []
        self.reasoning = ""
        self.calls: list[ToolCall] = []
        self.logprobs: list[TokenLogprob] = []
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.extension: ResponseExtension | None = None
        self.tokens = 0
        self.characters = 0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, chunk: ChatChunk) -> str:
        """Adds a chunk and returns its text."""
        self.id, self.created, self.model = chunk.id, chunk.created, chunk.model
        self.usage = chunk.usage or self.usage
        if not chunk.choices or any(choice.index == self.index for choice in chunk.choices):
            self.extension = chunk.flightloop or self.extension
        return "".join(self._choice(choice) for choice in chunk.choices if choice.index == self.index)

    def cut(self, prompt_tokens: int) -> None:
        """Ends the answer before the stream does; estimates the usage if none was reported yet."""
        self.finish_reason = "length"
        total = prompt_tokens + self.tokens
        used = Usage(prompt_tokens=prompt_tokens, completion_tokens=self.tokens, total_tokens=total)
        self.usage = self.usage or used
        self.drop_cut_calls()

    def drop_cut_calls(self) -> None:
        """Removes incomplete calls if the answer was cut by its token limit."""
        if self.finish_reason == "length":
            self.calls = [call for call in self.calls if _is_whole(call)]

    def completion(self) -> ChatCompletion:
        """The whole answer, as in a response without streaming.

        Raises:
            ModelUnavailable: the chunks ended before the answer was complete.
        """
        if self.finish_reason is None:
            raise ModelUnavailable("the answer was interrupted before its end")
        text = self.text
        message = ResponseMessage(
            content=text if text or not self.calls else None,
            reasoning_content=self.reasoning or None,
            tool_calls=self.calls or None,
        )
        logprobs = ChoiceLogprobs(content=self.logprobs) if self.logprobs else None
        return ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[Choice(index=self.index, message=message, finish_reason=self.finish_reason, logprobs=logprobs)],
            usage=self.usage or Usage(),
            flightloop=self.extension,
        )

    def _choice(self, choice: ChunkChoice) -> str:
        before = self.characters
        self.finish_reason = choice.finish_reason or self.finish_reason
        self.logprobs += choice.logprobs.content if choice.logprobs else []
        text = choice.delta.content or ""
        if text:
            self.pieces.append(text)
            self.characters += len(text)
        if choice.delta.reasoning_content:
            self.reasoning += choice.delta.reasoning_content
            self.characters += len(choice.delta.reasoning_content)
        for delta in choice.delta.tool_calls or []:
            self._call(delta)
        if _is_part(choice):
            self.tokens += max(1, (self.characters - before) // CHARACTERS)
        return text

    def _call(self, delta: ToolCallDelta) -> None:
        while len(self.calls) <= delta.index:
            self.calls.append(ToolCall(id="", function=FunctionCall(name="", arguments="")))
        call = self.calls[delta.index]
        call.id = delta.id or call.id
        name, arguments = delta.function.name or "", delta.function.arguments or ""
        call.function.name += name
        call.function.arguments += arguments
        self.characters += len(name) + len(arguments)


def _is_whole(call: ToolCall) -> bool:
    try:
        call.function.parsed()
    except ValueError:
        return False
    return True


async def completed(chunks: AsyncIterable[ChatChunk], choices: int = 1) -> ChatCompletion:
    """Reads a stream to its end and returns the whole completion.

    Args:
        choices: number of requested choices. With several, the result's extension has only the ``asks`` of all choices,
            because the other figures differ between choices.

    Raises:
        ModelUnavailable: the stream ends early; also raises the stream's own errors.
    """
    answers = [Answer(index) for index in range(choices)]
    async for chunk in chunks:
        for answer in answers:
            answer.add(chunk)
    first, *others = (answer.completion() for answer in answers)
    if not others:
        return first
    found = [choice for completion in (first, *others) for choice in completion.choices]
    told = (completion.flightloop for completion in (first, *others))
    asks = [ask for one in told if one is not None for ask in one.asks]
    return first.model_copy(update={"choices": found, "flightloop": ResponseExtension(asks=asks) if asks else None})
