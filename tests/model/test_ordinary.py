"""Ordinary conversations: prompts that are drawn, and which answers of a larger model are kept."""

from __future__ import annotations

import pytest

from model.tuner.compose.family import read_all
from model.tuner.data.ordinary import answered, prompts, with_tools
from model.tuner.data.row import Row
from tests.model.test_mistakes import Parrot

ENGLISH = {"role": "assistant", "content": "Paris is the capital."}
CHINESE = {"role": "assistant", "content": "巴黎是首都。"}


def asked(kind: str, *questions: str) -> Row:
    messages = [{"role": "user", "content": question} for question in questions]
    return {"source": "ordinary", "intent": kind, "messages": messages}


async def made(model: Parrot, *rows: Row) -> list[Row | None]:
    return [each async for each in answered(model, "parrot", rows, 2)]


def test_prompts_are_of_every_kind_and_the_same_for_a_seed() -> None:
    drawn = prompts(10_000, 1)
    assert drawn == prompts(10_000, 1)
    assert drawn[:20] == prompts(20, 1)
    assert {"facts", "small_talk_zh", "follow_up", "write", "code_zh"} <= {row["intent"] for row in drawn}
    assert "systems" not in {row["intent"] for row in drawn}
    roles = {tuple(message["role"] for message in row["messages"]) for row in drawn}
    assert roles == {(*system, *users) for system in ((), ("system",)) for users in (("user",), ("user", "user"))}


async def test_each_question_is_answered_in_turn() -> None:
    model = Parrot(ENGLISH)
    [row] = await made(model, asked("follow_up", "The capital of France?", "Sure?"))
    assert row is not None
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * 2
    assert [len(request.messages) for request in model.asked] == [1, 3]


@pytest.mark.parametrize(
    ("kind", "question", "answer", "finish", "kept"),
    [
        ("facts", "The capital of France?", ENGLISH, "stop", True),
        ("facts", "The capital of France?", ENGLISH, "length", False),
        ("facts", "The capital of France?", {"role": "assistant", "content": " \n"}, "stop", False),
        ("facts", "The capital of France?", CHINESE, "stop", False),
        ("facts_zh", "法国的首都？", CHINESE, "stop", True),
        ("facts_zh", "法国的首都？", ENGLISH, "stop", False),
        ("translate", "In Chinese: Paris is the capital.", CHINESE, "stop", True),
    ],
)
async def test_answers_are_kept_if_whole_and_in_the_language_of_the_question(
    kind: str, question: str, answer: dict[str, str], finish: str, kept: bool
) -> None:
    [row] = await made(Parrot(answer, finish), asked(kind, question))
    assert (row is not None) == kept


def test_some_questions_are_answered_although_there_are_tools() -> None:
    answer = {"role": "assistant", "content": "Paris."}
    talk = [{**row, "messages": [*row["messages"], answer]} for row in prompts(300, 1)]
    tooled = list(with_tools(talk, read_all(), 1))
    assert tooled == list(with_tools(talk, read_all(), 1))
    assert 50 < len(tooled) < 250
    for row in tooled:
        assert row["intent"].removesuffix("_zh") not in ("translate", "calculate", "code", "write")
        assert row["tools"]
        assert row["messages"][-1] == answer
