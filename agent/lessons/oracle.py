"""A model that knows the right answer: it plays a case's solution, whatever the loop asks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from agent.models.answer_chunks import Turn as Chunks
from agent.models.answer_chunks import calls, plan, text
from agent.models.chat_model import Capabilities
from flightloop.chat import ChatChunk, ChatRequest, ModelCard
from flightloop.lessons import Call, NoCase, Outcome, Plan, Say, Solution, Step

NAME = "oracle"


class OutOfStep(NoCase):
    """The loop asked for something that the solution does not foresee: the case is wrong."""


@dataclass
class Oracle:
    """Implements ``ChatModel``. Set ``solution`` before each run; ``asked`` keeps the requests in order."""

    solution: Solution
    asked: list[ChatRequest] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Raises OutOfStep."""
        for chunk in self._answer(request):
            assert isinstance(chunk, ChatChunk)
            yield chunk

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id=NAME)]

    def _answer(self, request: ChatRequest) -> Chunks:
        self.asked.append(request)
        wants_plan = request.response_format is not None
        step = self._next(request)
        if isinstance(step, Plan) and not wants_plan:
            step = next(self.solution)
        if isinstance(step, Plan) != wants_plan:
            raise OutOfStep(f"asked for {'a plan' if wants_plan else 'a call or an answer'}, the solution has {step}")
        match step:
            case Plan():
                return plan(step.goal, *step.tools)
            case Call():
                return calls((step.tool, step.arguments))
            case Say():
                return text(step.text)

    def _next(self, request: ChatRequest) -> Step:
        last = request.messages[-1]
        try:
            return self.solution.send(outcome(last.text)) if last.role == "tool" else next(self.solution)
        except StopIteration:
            raise OutOfStep("the solution is at its end, and the loop asks once more") from None


def outcome(text: str) -> Outcome:
    """Reads a tool's message back."""
    if text.startswith("error: "):
        return Outcome(False, text.removeprefix("error: "))
    try:
        return Outcome(True, json.JSONDecoder().raw_decode(text)[0])
    except ValueError:
        return Outcome(True, text)
