"""Calls below a probability are withheld, and the model is asked for words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightloop.answer import Answer
from flightloop.chat import (
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    ChoiceLogprobs,
    ChunkChoice,
    Delta,
    FunctionDelta,
    ResponseExtension,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from flightloop.errors import ConfigError, Overloaded
from model.config import ModelConfig
from model.serve.call_confidence import least_of, may_choose, without_unsure_calls

TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]


@dataclass
class Answers:
    """A model that calls where it may, as sure as ``confidence`` says, and answers in words where it may not.

    ``before``: words that it says before it calls; ``full``: how often its queue is, for the second question;
    ``calls``: how many it makes.
    """

    confidence: float | None
    before: str = ""
    full: int = 0
    calls: int = 1
    asked: list[ChatRequest] = field(default_factory=list)

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        self.asked.append(request)
        if 1 < len(self.asked) <= 1 + self.full:
            raise Overloaded("the queue is full")
        calls = request.tool_choice != "none"
        call = ToolCallDelta(index=0, id="call_1", type="function", function=FunctionDelta(name="find", arguments=""))
        rest = ToolCallDelta(index=0, function=FunctionDelta(arguments='{"id":1}'))
        more = [
            Delta(tool_calls=[call.model_copy(update={"index": at, "id": f"call_{at + 1}"})])
            for at in range(1, self.calls)
        ]
        deltas = (
            [Delta(tool_calls=[call]), Delta(tool_calls=[rest]), *more]
            if calls
            else [Delta(content="Which "), Delta(content="one?")]
        )
        said_before = [Delta(content=self.before)] if self.before and calls else []
        for delta in (Delta(role="assistant"), *said_before, *deltas):
            spelt = [TokenLogprob(token="?" if delta.tool_calls or delta.role else delta.content or "", logprob=-1.0)]
            yield self._chunk(ChunkChoice(delta=delta, logprobs=ChoiceLogprobs(content=spelt)))
        last = self._chunk(ChunkChoice(delta=Delta(), finish_reason="tool_calls" if calls else "stop"))
        last.usage = Usage(prompt_tokens=10, completion_tokens=4, total_tokens=14)
        confidence = self.confidence if calls else 0.9
        last.flightloop = ResponseExtension(confidence=confidence, queue_seconds=1.5, ttft_seconds=0.5)
        yield last

    def _chunk(self, choice: ChunkChoice) -> ChatChunk:
        return ChatChunk(id=f"chat-{len(self.asked)}", created=1, model="m", choices=[choice])


def request(**fields: object) -> ChatRequest:
    return ChatRequest.model_validate(
        {"model": "m", "messages": [{"role": "user", "content": "Find it."}], "tools": TOOLS} | fields
    )


async def whole(model: Answers, asked: ChatRequest, least: float = 0.1) -> tuple[list[ChatChunk], ChatCompletion]:
    chunks = [chunk async for chunk in without_unsure_calls(model, asked, least)]
    answer = Answer()
    for chunk in chunks:
        answer.add(chunk)
    return chunks, answer.completion()


async def test_unsure_calls_become_words() -> None:
    model = Answers(0.04)
    chunks, made = await whole(model, request(max_tokens=50))
    (choice,) = made.choices
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == ("Which one?", None, "stop")
    assert [one.tool_choice for one in model.asked] == [None, "none"]
    assert model.asked[1].token_limit == 46
    assert made.usage.model_dump(include={"prompt_tokens", "completion_tokens", "total_tokens"}) == {
        "prompt_tokens": 10,
        "completion_tokens": 8,
        "total_tokens": 18,
    }
    assert made.flightloop is not None
    assert (made.flightloop.withheld, made.flightloop.confidence) == (0.04, 0.9)
    assert {chunk.id for chunk in chunks} == {"chat-1"}
    assert [choice.delta.role for chunk in chunks for choice in chunk.choices].count("assistant") == 1
    # Of the call nothing gets out, nor is what it took forgotten when the words break off.
    assert choice.logprobs is not None
    assert [token.token for token in choice.logprobs.content] == ["?", "Which ", "one?"]
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [4, 8]
    assert made.flightloop.queue_seconds == 3.0
    assert (made.flightloop.ttft_seconds or 0) > 0.5


@pytest.mark.parametrize(("confidence", "limit"), [(0.1, None), (0.7, 50), (None, None), (0.04, 35)])
async def test_calls_that_stand(confidence: float | None, limit: int | None) -> None:
    """Sure enough, of a model that doesn't tell, and where no token would be left to answer with."""
    model = Answers(confidence)
    _, made = await whole(model, request(max_tokens=limit))
    (call,) = made.choices[0].message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("find", '{"id":1}')
    assert made.flightloop is not None
    assert made.flightloop.withheld is None
    assert len(model.asked) == 1


@pytest.mark.parametrize(("confidence", "made"), [(0.011, 2), (0.009, 0)])
async def test_two_calls_need_no_more_than_one_does_each(confidence: float, made: int) -> None:
    _, answer = await whole(Answers(confidence, calls=2), request())
    assert len(answer.choices[0].message.tool_calls or []) == made


async def test_calls_behind_words_stand() -> None:
    _, made = await whole(Answers(0.04, before="Let me see."), request())
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("Let me see.", "tool_calls")


async def test_an_answer_that_has_begun_waits_for_a_full_queue() -> None:
    model = Answers(0.04, full=2)
    _, made = await whole(model, request())
    assert made.choices[0].message.content == "Which one?"
    assert len(model.asked) == 4


@pytest.mark.parametrize(("asked", "own", "least"), [(None, 0.2, 0.2), (0.03, 0.2, 0.03), (0, 0.2, 0), (0.4, 0, 0.4)])
def test_a_request_may_name_its_own_level(asked: float | None, own: float, least: float) -> None:
    extension = {"call_confidence": asked}
    assert least_of(request(flightloop=extension), own) == least
    assert least_of(request(flightloop=extension, tool_choice="required"), own) == 0


async def test_words_pass_while_they_are_written() -> None:
    model = Answers(0.04)
    stream = without_unsure_calls(model, request(tool_choice="none"), 0.1)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(2)] == [None, "Which "]
    await stream.aclose()
    assert len(model.asked) == 1


def test_who_is_told_to_call_is_not_asked_twice() -> None:
    named = {"type": "function", "function": {"name": "find"}}
    choices = ("required", "none", named, "auto", None)
    assert [may_choose(request(tool_choice=choice)) for choice in choices] == [False, False, False, True, True]
    assert not may_choose(request(tools=None))


@given(st.floats().filter(lambda value: not 0 <= value < 1))
def test_a_probability_is_one(value: float) -> None:
    with pytest.raises(ConfigError, match="call_confidence"):
        ModelConfig(call_confidence=value)
