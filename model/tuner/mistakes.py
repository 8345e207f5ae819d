"""Finds the model's mistakes: lets it answer questions with known answers, and turns wrong answers into pairs.

The pairs are for preference training: the rejected answers are the model's own. The probabilities of right and wrong
calls show which minimum confidence to configure (`model.tuner.confidence`).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flightloop.answer import completed
from flightloop.chat import ChatChunk, ChatMessage, ChatRequest
from flightloop.errors import ContextTooLong
from model.tuner.data.row import Call, Row

ANSWER_TOKENS = 256
UNEVEN = 2
"""Largest ratio between the numbers of pairs that teach to call and pairs that teach not to, in either direction."""


class Model(Protocol):
    """A model that answers, such as `model.serve.server.ChatServer`."""

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]: ...


@dataclass(frozen=True)
class Answered:
    """The model's answer to one question, and the right answer."""

    asked: Row  # the row up to the question
    right: dict[str, Any]  # the right answer
    given: dict[str, Any]  # the model's answer
    confidence: float | None  # confidence of the model's answer; None if not reported

    @property
    def due(self) -> bool:
        return bool(_calls(self.right))

    @property
    def calls(self) -> int:
        """Number of calls in the model's answer."""
        return len(_calls(self.given))

    @property
    def called(self) -> bool:
        return self.calls > 0

    @property
    def is_right(self) -> bool:
        return _calls(self.given) == _calls(self.right)

    @property
    def pair(self) -> Row:
        """A row for `model.tuner.examples.read_pairs`."""
        return {**self.asked, "chosen": self.right, "rejected": self.given}


async def answers(
    model: Model, name: str, rows: Sequence[Row], at_once: int = 32, temperature: float = 0.0, seed: int = 0
) -> AsyncIterator[Answered | None]:
    """Lets the model answer one question of each row.

    An answer is right if it has the same calls as the known answer, in any order; if that has no calls, it must have
    none either. Text is not compared.

    Args:
        model: the model, with calls constrained by the grammar as when it is served.
        name: the model's name in requests.
        rows: rows in the format of `model.tuner.examples.read`.
        at_once: maximum number of concurrent requests.
        temperature: sampling temperature.
        seed: seed for choosing the question of each row.

    Yields:
        A result per row, in any order; None if the answer was cut off or the prompt exceeded the context.
    """
    places, source = asyncio.Semaphore(at_once), random.Random(seed)
    numbers = [source.choice(_learned(row["messages"])) for row in rows]

    async def one(row: Row, number: int) -> Answered | None:
        async with places:
            return await _answered(model, name, row, number, temperature)

    asked = [asyncio.create_task(one(row, number)) for row, number in zip(rows, numbers, strict=True)]
    try:
        for done in asyncio.as_completed(asked):
            yield await done
    finally:
        for task in asked:
            task.cancel()


def evened(pairs: Sequence[Row]) -> list[Row]:
    """Balances pairs that teach to call and pairs that teach not to.

    A model that calls too often and is trained on little else than its needless calls learns not to call at all.
    """
    kinds = [(bool(_calls(pair["chosen"])), bool(_calls(pair["rejected"]))) for pair in pairs]
    most = UNEVEN * max(1, min(kinds.count((True, False)), kinds.count((False, True))))
    seen: Counter[tuple[bool, bool]] = Counter()
    kept = []
    for pair, kind in zip(pairs, kinds, strict=True):
        seen[kind] += 1
        if kind == (True, True) or seen[kind] <= most:
            kept.append(pair)
    return kept


async def _answered(model: Model, name: str, row: Row, number: int, temperature: float) -> Answered | None:
    before, right = row["messages"][:number], row["messages"][number]
    fields = {key: row[key] for key in ("tools", "response_format") if row.get(key) is not None}
    request = ChatRequest(
        model=name,
        messages=[{key: value for key, value in message.items() if key != "weight"} for message in before],
        max_tokens=ANSWER_TOKENS,
        temperature=temperature,
        **fields,
    )
    try:
        completion = await completed(model.stream(request))
    except ContextTooLong:
        return None
    choice = completion.choices[0]
    given = choice.message.model_dump(exclude_none=True, exclude_defaults=True) | {"role": "assistant"}
    if choice.finish_reason == "length":
        return None
    asked = {"source": row.get("source"), **fields, "messages": before}
    return Answered(asked, right, given, completion.flightloop.confidence if completion.flightloop else None)


def _learned(messages: Sequence[dict[str, Any]]) -> list[int]:
    """Indices of the answers to train on, without plans, which are requested differently."""
    return [
        number
        for number, message in enumerate(messages)
        if message["role"] == "assistant" and message.get("weight", 1) and message.get("name") != "plan"
    ]


def _calls(message: dict[str, Any]) -> list[Call]:
    made = ChatMessage.model_validate({key: value for key, value in message.items() if key != "weight"})
    calls = [(call.function.name, call.function.parsed()) for call in made.tool_calls or []]
    return sorted(calls, key=repr)
