"""A loaded model."""

from __future__ import annotations

from dataclasses import dataclass

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
        form: number format of the weights, and whether the kernels or torch run the model.
    """

    decoder: Decoder
    config: DecoderConfig
    tokenizer: Tokenizer
    name: str
    parameters: int
    active_parameters: int
    form: Form = FLOAT32

    @classmethod
    def of(cls, decoder: Decoder, tokenizer: Tokenizer, name: str, form: Form | None = None) -> LoadedModel:
        """Counts the parameters and puts the decoder into evaluation mode without gradients."""
        decoder.eval().requires_grad_(False)
        total, active = decoder.parameter_counts()
        return cls(decoder, decoder.config, tokenizer, name, total, active, form or FLOAT32)
