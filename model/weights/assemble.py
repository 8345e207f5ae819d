"""Puts tensors into a decoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig


def assemble(shape: DecoderConfig, state: Mapping[str, Tensor], dtype: torch.dtype) -> Decoder:
    """A decoder around these tensors, which are converted where their dtype differs and otherwise not copied.

    Raises:
        ConfigError: when a tensor is missing or has another shape than the decoder needs.
    """
    with torch.device("meta"):
        decoder = Decoder(shape)
    converted = {name: value.to(dtype) for name, value in state.items()}
    if shape.tied:
        converted["head.weight_OI"] = converted["embedding"]
    try:
        decoder.load_state_dict(converted, assign=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ConfigError(f"the weights do not fit the model's description: {first}", param="model") from error
    decoder.make_buffers()
    return decoder


def processor_features() -> frozenset[str]:
    """Names of what this processor can do, for `model.config.resolve_dtype`."""
    return frozenset(name for name, value in torch.cpu.get_capabilities().items() if value is True)
