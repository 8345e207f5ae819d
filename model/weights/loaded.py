"""A loaded model."""

from __future__ import annotations

from dataclasses import dataclass

from model.chat.compact import CompactChat
from model.chat.format import ChatFormat
from model.native.packed import PackedWeights
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.weights.form import FLOAT32, Form
from model.weights.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """Weights, tokenizer, and facts about them.

    Attributes:
        weights: packed for the kernels if ``form`` says that they run the model, else in torch's decoder.
        name: the model's name, as shown in /v1/models.
        chat: how it reads conversations and writes calls.
        form: number format of the weights, and whether the kernels or torch run the model.
    """

    weights: Decoder | PackedWeights
    config: DecoderConfig
    tokenizer: Tokenizer
    name: str
    chat: ChatFormat
    form: Form = FLOAT32

    @classmethod
    def of(
        cls, decoder: Decoder, tokenizer: Tokenizer, name: str, form: Form | None = None, chat: ChatFormat | None = None
    ) -> LoadedModel:
        """Packs the decoder's weights for the kernels if the form asks for it; torch gets it without gradients.

        ``chat``: None: the compact format of the model ``edge``.
        """
        weights = PackedWeights.of(decoder) if form and form.kernels else decoder.eval().requires_grad_(False)
        return cls(weights, decoder.config, tokenizer, name, chat or CompactChat(tokenizer), form or FLOAT32)

    @property
    def decoder(self) -> Decoder:
        """The decoder of a model that torch runs."""
        assert isinstance(self.weights, Decoder), "the kernels run this model"
        return self.weights

    @property
    def packed(self) -> PackedWeights:
        """The weights of a model that the kernels run."""
        assert isinstance(self.weights, PackedWeights), "torch runs this model"
        return self.weights

    @property
    def parameters(self) -> int:
        """Number of all parameters."""
        return self.config.parameter_counts()[0]

    @property
    def active_parameters(self) -> int:
        """Number of parameters active per token."""
        return self.config.parameter_counts()[1]
