"""How a model reads conversations and writes calls."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from flightloop.chat import ChatRequest
from flightloop.errors import ConfigError
from model.chat.calls import HERMES, LLAMA3, CallFormat
from model.chat.conversation import Piece
from model.chat.template import ChatTemplate
from model.weights.tokenizer import Tokenizer


class ChatFormat(Protocol):
    """Prompts for requests, and the format of calls in answers: `model.chat.compact` or a checkpoint's template."""

    @property
    def calls(self) -> CallFormat: ...

    @property
    def reasons(self) -> bool:
        """Whether answers may begin with reasoning (`model.chat.reasoning`)."""
        ...

    @property
    def begins_reasoning(self) -> bool:
        """Whether prompts end with the tag that opens the reasoning."""
        ...

    @property
    def shows_plans(self) -> bool:
        """Whether prompts contain the plans of earlier steps."""
        ...

    def render(self, request: ChatRequest) -> str:
        """The prompt as text, for people to read."""
        ...

    def encode(self, request: ChatRequest, limit: int) -> list[int]:
        """The prompt as token ids; raises InvalidRequest and its subclasses."""
        ...

    def conversation(self, request: ChatRequest, answers: Collection[int]) -> list[Piece]:
        """A conversation for training. Each answer follows the tokens of the prompt that would have asked for it.

        Args:
            request: a conversation up to the last answer, with what `encode` uses.
            answers: indices of the assistant's messages to train on. Those that the format leaves out are ignored.

        Raises:
            InvalidRequest: as for `encode`.
            ValueError: the format writes an earlier answer in another way than when it was given.
        """
        ...


def checkpoint_format(tokenizer: Tokenizer, name: str) -> ChatFormat:
    """The format of a checkpoint, from its chat template.

    Args:
        tokenizer: the checkpoint's tokenizer.
        name: the model's name.

    Raises:
        ConfigError: there is no template, or it is invalid.
    """
    source = tokenizer.chat_template
    if source is None:
        raise ConfigError(
            f"{name} has no chat template, so its prompts are unknown; add chat_template.jinja to its folder",
            param="model",
        )
    llama3 = "<|start_header_id|>" in source or "<|python_tag|>" in source
    return ChatTemplate(source, tokenizer, LLAMA3 if llama3 else HERMES)
