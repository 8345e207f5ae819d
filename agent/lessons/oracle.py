"""A model that knows the correct answers: it answers the loop's requests with the steps of a case's solution."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from agent.models.answer_chunks import Turn as Chunks
from agent.models.answer_chunks import calls, plan, text
from agent.models.chat_model import Capabilities
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.lessons import Call, NoCase, Outcome, Plan, Say, Solution, Step
from flightloop.model_card import ModelCard

NAME = "oracle"


class OutOfStep(NoCase):
    """The loop's request doesn't fit the solution's next step, so the case is wrong."""


@dataclass
class Oracle:
    """Implements ``ChatModel``. ``solution``: steps of one run. ``asked``: collects the requests, in order."""

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
            raise OutOfStep(f"requested {'a plan' if wants_plan else 'a call or an answer'}; the next step is {step}")
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
            raise OutOfStep("the solution has ended, but the loop sent another request") from None


def outcome(text: str) -> Outcome:
    """Parses the text of a tool's message."""
    if text.startswith("error: "):
        return Outcome(False, text.removeprefix("error: "))
    try:
        return Outcome(True, json.JSONDecoder().raw_decode(text)[0])
    except ValueError:
        return Outcome(True, text)
