"""A model that answers as told, and the pairs that its wrong answers make."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from flightloop.chat import (
    ChatChunk,
    ChatRequest,
    ChunkChoice,
    Delta,
    FunctionDelta,
    ResponseMessage,
    ToolCallDelta,
    Usage,
)
from model.chat.compact import CompactChat
from model.tuner.data.row import Row, called, row, said, tool
from model.tuner.examples import pair_of
from model.tuner.mistakes import answers, evened
from model.weights.tiny import embedded_tokenizer

WEATHER = tool("weather", "The weather.", {"city": {"type": "string"}}, ["city"])
HILO = [("weather", {"city": "Hilo"})]
BOTH = [*HILO, ("weather", {"city": "Bern"})]


class Parrot:
    """Gives the same answer to everything."""

    def __init__(self, message: dict, finish: str = "stop") -> None:
        self.message, self.finish = ResponseMessage.model_validate(message), finish
        self.asked: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        self.asked.append(request)
        calls = [
            ToolCallDelta(index=index, id=call.id, function=FunctionDelta(**call.function.model_dump()))
            for index, call in enumerate(self.message.tool_calls or [])
        ]
        delta = Delta(role="assistant", content=self.message.content, tool_calls=calls or None)
        choice = ChunkChoice(delta=delta, finish_reason=self.finish)
        yield ChatChunk(id="1", created=0, model="parrot", choices=[choice], usage=Usage())


async def made(model: Parrot, *rows: Row) -> list[Row | None]:
    """Pairs of the wrong answers."""
    found = [each async for each in answers(model, "parrot", rows)]
    return [each.pair if each and not each.is_right else None for each in found]


@pytest.mark.parametrize(
    ("right", "given", "wrong"),
    [
        (called(HILO), called(HILO, 7), False),
        (called(BOTH), called(BOTH[::-1]), False),
        (called(BOTH), called(HILO), True),
        (called(HILO), called([("weather", {"city": "Bern"})]), True),
        (called(HILO), said("assistant", "It rains."), True),
        (said("assistant", "It rains."), called(HILO), True),
        (said("assistant", "It rains."), said("assistant", "It does."), False),
    ],
)
async def test_other_calls_are_mistakes(right, given, wrong):
    model = Parrot(given)
    [found] = await made(model, row("test", [said("user", "Hilo?"), right], [WEATHER]))
    assert (found is not None) == wrong
    if found:
        pair = pair_of(json.loads(json.dumps(found)), CompactChat(embedded_tokenizer()), 1000)
        assert pair.chosen.tokens != pair.rejected.tokens
    assert [message.text for message in model.asked[0].messages] == ["Hilo?"]


async def test_only_learned_answers_are_asked_for_and_cut_ones_do_not_count():
    plan = {"role": "assistant", "name": "plan", "content": "{}"}
    old = {**said("assistant", "Yes?"), "weight": 0}
    messages = [said("user", "Hi"), old, said("user", "Hilo?"), plan, called(HILO)]
    model = Parrot(said("assistant", "It rains and"), finish="length")
    assert await made(model, row("test", messages, [WEATHER])) == [None]
    assert len(model.asked[0].messages) == 4


def test_neither_calling_nor_not_calling_is_taught_much_more_than_the_other():
    call, text = called(HILO), said("assistant", "It rains.")

    def pairs(chosen, rejected, count):
        return [{"chosen": chosen, "rejected": rejected} for _ in range(count)]

    too_much, too_little, other = pairs(text, call, 9), pairs(call, text, 2), pairs(call, called(BOTH), 20)
    assert evened([*too_much, *too_little, *other]) == [*too_much[:4], *too_little, *other]
    assert evened([*too_little, *too_much[:1]]) == [*too_little, *too_much[:1]]
    assert evened([*too_much, *other]) == [*too_much[:2], *other]
    assert evened([]) == []
