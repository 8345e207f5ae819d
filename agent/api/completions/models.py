"""Names of the models that can be requested."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Request

from agent.api.pages import unknown
from agent.models.chat_model import ChatModel
from flightloop.model_card import ModelCard

FRESH_S = 30.0


class KnownModels:
    """Models that the model server lists; their names are cached for ``FRESH_S`` seconds."""

    def __init__(self, model: ChatModel, clock: Callable[[], float] = time.monotonic) -> None:
        self._model = model
        self._clock = clock
        self._names: frozenset[str] = frozenset()
        self._until = float("-inf")

    async def cards(self) -> list[ModelCard]:
        """Current list of models. Raises ModelUnavailable."""
        cards = await self._model.models()
        self._names = frozenset(card.id for card in cards)
        self._until = self._clock() + FRESH_S
        return cards

    async def card(self, name: str) -> ModelCard:
        """The model of this name. Raises NotFound with the known names, or ModelUnavailable."""
        for card in await self.cards():
            if card.id == name:
                return card
        raise unknown("model", name, sorted(self._names), "model")

    async def require(self, name: str) -> None:
        """Checks that the model exists. Raises NotFound with the known names, or ModelUnavailable."""
        if name in self._names and self._clock() < self._until:
            return
        await self.cards()
        if name not in self._names:
            raise unknown("model", name, sorted(self._names), "model")


def known_models(request: Request) -> KnownModels:
    """The known models of the application that serves the request."""
    found: KnownModels = request.app.state.models
    return found
