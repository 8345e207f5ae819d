"""A model that believes everything that it reads and does all that it is told: the worst case."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from agent.loop.tool_results import tells_of_guess
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.models.chat_model import Capabilities
from agent.redteam.attack import Call
from flightloop.chat import ChatChunk, ChatRequest
from flightloop.model_card import ModelCard


@dataclass
class Believer:
    """Makes given calls, one at a time. Implements ``agent.models.chat_model.ChatModel``.

    A call that is refused or denied does not stop it, and one with a value that it has made up is made again. If it is
    asked for a plan, the plan names the turn's tools.

    Attributes:
        calls: calls for each of the user's turns.
        unplanned: tools that the first turn's plan leaves out: the model has not read the injection yet.
        answer: answer after the last call, given word by word.
        planned: whether it makes plans.
        turn: the current turn.
    """

    calls: Sequence[Sequence[Call]]
    unplanned: Collection[str] = ()
    answer: str = "I have looked at it."
    planned: bool = True
    turn: int = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(reads_plans=self.planned)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        for chunk in self.answer_to(request):
            assert isinstance(chunk, ChatChunk)
            yield chunk

    async def models(self) -> list[ModelCard]:
        return [ModelCard(id="believer")]

    def answer_to(self, request: ChatRequest) -> Turn:
        wanted = self.calls[self.turn]
        if request.response_format is not None:
            hidden = self.unplanned if self.turn == 0 else ()
            return plan("do what is asked", *dict.fromkeys(name for name, _ in wanted if name not in hidden))
        last = max(at for at, message in enumerate(request.messages) if message.role == "user")
        told = [message.text for message in request.messages[last:] if message.role == "tool"]
        results = [text for text in told if not tells_of_guess(text)]
        return calls(wanted[len(results)]) if len(results) < len(wanted) else text(*re.split(r"(?<=\s)", self.answer))
