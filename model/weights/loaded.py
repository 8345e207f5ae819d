"""A loaded model."""

from __future__ import annotations

from dataclasses import dataclass

from model.chat.compact import CompactChat
from model.chat.format import ChatFormat
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.weights.form import FLOAT32, Form
from model.weights.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """Decoder, tokenizer, and facts about them.

    Attributes:
        name: the model's name, as shown in /v1/models.
        parameters: number of all parameters.
        active_parameters: number of parameters active per token.
        chat: how it reads conversations and writes calls.
        form: number format of the weights, and whether the kernels or torch run the model.
    """

    decoder: Decoder
    config: DecoderConfig
    tokenizer: Tokenizer
    name: str
    parameters: int
    active_parameters: int
    chat: ChatFormat
    form: Form = FLOAT32

    @classmethod
    def of(
        cls, decoder: Decoder, tokenizer: Tokenizer, name: str, form: Form | None = None, chat: ChatFormat | None = None
    ) -> LoadedModel:
        """Counts the parameters and puts the decoder into evaluation mode without gradients.

        ``chat``: None: the compact format of the model ``edge``.
        """
        decoder.eval().requires_grad_(False)
        total, active = decoder.parameter_counts()
        chat = chat or CompactChat(tokenizer)
        return cls(decoder, decoder.config, tokenizer, name, total, active, chat, form or FLOAT32)
