"""Assembles a decoder from tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from flightloop.errors import ConfigError
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.quant.grouped import GroupedEmbedding, GroupedLinear, GroupedRows

State = Mapping[str, Tensor | GroupedRows]


def assemble(shape: DecoderConfig, state: State, dtype: torch.dtype) -> Decoder:
    """Builds a decoder from these tensors. A tensor of another dtype is converted; the others are not copied.

    Quantised weights stay as they are, each in a `GroupedLinear` or a `GroupedEmbedding`.

    Raises:
        ConfigError: a tensor is missing or has another shape than the decoder needs.
    """
    with torch.device("meta"):
        decoder = Decoder(shape)
    converted: dict[str, Tensor] = {}
    for name, value in state.items():
        if isinstance(value, GroupedRows):
            layer, _, weight = name.rpartition(".")
            parent, _, child = layer.rpartition(".")
            made = GroupedEmbedding(value) if weight == "weight_VD" else GroupedLinear(value)
            setattr(decoder.get_submodule(parent), child, made)
        else:
            converted[name] = value.to(dtype)
    if shape.tied:
        converted["head.weight_OI"] = converted["embedding.weight_VD"]
    try:
        decoder.load_state_dict(converted, assign=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ConfigError(f"the weights do not match the model's configuration: {first}", param="model") from error
    decoder.make_buffers()
    return decoder


def processor_features() -> frozenset[str]:
    """Names of this processor's features, for `model.config.resolve_dtype`."""
    return frozenset(name for name, value in torch.cpu.get_capabilities().items() if value is True)
