"""Requests to the API: a conversation and tools, greedy, with or without the grammar."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flightloop import Flightloop
from flightloop.chat import ChatCompletion
from flightloop.errors import FlightloopError

MOST_TOKENS = 512
"""Limit of an answer."""
CUT_OFF, REFUSED = "cut_off", "content_filter"

Message = dict[str, Any]
Tool = dict[str, Any]


class AskFailed(RuntimeError):
    """The request has no answer that can be judged. ``kind``: the error's code, ``content_filter`` or ``cut_off``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Call:
    """A call. ``arguments``: JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """An answer. ``confidence``: exp(mean log-probability before the grammar's mask), 0 to 1, if the API returns it;
    ``tokens``: tokens of the answer."""

    text: str
    calls: tuple[Call, ...] = ()
    confidence: float | None = None
    tokens: int = 0

    def message(self) -> Message:
        """The answer as a message of the conversation."""
        if not self.calls:
            return {"role": "assistant", "content": self.text}
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.calls
        ]
        return {"role": "assistant", "content": self.text or None, "tool_calls": calls}


class Model(Protocol):
    """The measured model. Thread-safe."""

    def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Answer:
        """Asks the model.

        Raises:
            AskFailed: the request failed, or its answer was withheld or cut off.
        """
        ...


class Endpoint:
    """A model behind ``/v1/chat/completions``.

    Args:
        client: client of the platform.
        model: the model's name.
        held: use the grammar; otherwise every tool has ``strict: false``.
    """

    def __init__(self, client: Flightloop, model: str, *, held: bool = True) -> None:
        self._client = client
        self._model = model
        self._held = held

    def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Answer:
        offered = [*tools] if self._held else [_loose(tool) for tool in tools]
        try:
            completion = self._client.chat.completions.create(
                model=self._model,
                messages=list(messages),
                tools=offered,
                tool_choice="auto",
                temperature=0.0,
                max_tokens=MOST_TOKENS,
            )
        except FlightloopError as error:
            raise AskFailed(error.code, error.message) from error
        return _answer(completion)


@dataclass(frozen=True)
class FakeModel:
    """Answers at once, by a rule."""

    rule: Callable[[Sequence[Message], Sequence[Tool]], Answer]

    def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Answer:
        return self.rule(messages, tools)


def called(name: str, confidence: float | None = None, **arguments: Any) -> Answer:
    """An answer that is a single call."""
    return Answer("", (Call("call_0", name, json.dumps(arguments)),), confidence)


def _answer(completion: ChatCompletion) -> Answer:
    [choice] = completion.choices
    if choice.finish_reason == "content_filter":
        # The guard can't judge a call that was cut off, and refuses it.
        whole = completion.usage.completion_tokens < MOST_TOKENS
        raise AskFailed(REFUSED if whole else CUT_OFF, choice.message.content or "")
    calls = tuple(
        Call(each.id, each.function.name, each.function.arguments) for each in choice.message.tool_calls or ()
    )
    extension = completion.flightloop
    confidence = extension.confidence if extension else None
    return Answer(choice.message.content or "", calls, confidence, completion.usage.completion_tokens)


def _loose(tool: Tool) -> Tool:
    return {**tool, "function": {**tool["function"], "strict": False}}
