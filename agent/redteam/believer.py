"""A model that believes everything that it reads and does all that it is told: the worst case."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from agent.loop.tool_results import holds_back
from agent.models.answer_chunks import Turn, calls, plan, text
from agent.models.chat_model import Capabilities
from agent.redteam.attack import Call
from flightloop.chat import ChatChunk, ChatRequest, NamedToolChoice
from flightloop.model_card import ModelCard


@dataclass
class Believer:
    """Makes given calls, one at a time. Implements ``agent.models.chat_model.ChatModel``.

    A call that is refused or denied does not stop it. One that is held back once is made again, and after the overview
    that came before it. If it is asked for a plan, the plan names the turn's tools.

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
        made = 0
        for message in request.messages[last:]:
            own = message.role == "tool" and made < len(wanted) and message.name == wanted[made][0]
            if own and not holds_back(message.text):
                made += 1
        if made == len(wanted):
            return text(*re.split(r"(?<=\s)", self.answer))
        shows = overview_before(wanted[made][0], request)
        return calls((shows, {}) if shows else wanted[made])


def overview_before(tool: str, request: ChatRequest) -> str | None:
    """Name of the overview that the platform wants called before a call of ``tool``; None: it wants none. An overview
    needs no argument (`agent.loop.overview`)."""
    choice = request.tool_choice
    if not isinstance(choice, NamedToolChoice) or choice.function.name == tool:
        return None
    named = next(one.function for one in request.tools or () if one.function.name == choice.function.name)
    return None if (named.parameters or {}).get("required") else named.name
