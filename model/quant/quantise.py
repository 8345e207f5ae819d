"""Turns a decoder into another number format, in place."""

from __future__ import annotations

import torch
from torch import nn

from model.config import ResolvedDtype
from model.nn.decoder import Decoder
from model.nn.linear import Linear
from model.quant.int8 import Int8Linear, fits


def quantise(decoder: Decoder, format: ResolvedDtype) -> Decoder:
    """Changes the format of a decoder's weights and returns it.

    "float32" and "bfloat16" convert every parameter. "int8" replaces every `Linear` that the kernel can take
    (attention, shared experts, output projection) and puts the rest into bfloat16: the embedding, the norms, and
    routers and routed experts, which are small, and whose choice is the most sensitive number there is.
    """
    wide = torch.float32 if format == "float32" else torch.bfloat16
    if format == "int8":
        # Before the conversion, so that weights are rounded once.
        for parent in list(decoder.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Linear) and fits(child.weight_OI):
                    setattr(parent, name, Int8Linear(child.weight_OI))
    for parameter in decoder.parameters():  # not buffers: the rotary table and the scales stay as they are
        parameter.data = parameter.data.to(wide)
    if isinstance(decoder.head, Int8Linear) and decoder.config.tied:
        decoder.head.wide_OI = decoder.embedding.detach()  # the same memory, not a copy
    return decoder


def int8_layers(decoder: nn.Module) -> int:
    """How many products run in int8."""
    return sum(isinstance(module, Int8Linear) for module in decoder.modules())
