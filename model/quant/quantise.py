"""Turns a decoder into another number format, in place."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from model.nn.decoder import Decoder
from model.nn.linear import Linear
from model.quant.int8 import Int8Linear

Format = Literal["float32", "bfloat16", "int8"]


def quantise(decoder: Decoder, format: Format) -> Decoder:
    """Changes the format of a decoder's products and returns it.

    int8 replaces every `Linear` (attention, shared experts, output projection). The embedding keeps its format, and so
    do routers and routed experts: they are small, and the router's choice is the most sensitive number there is.

    Args:
        decoder: with float weights.
        format: "float32" and "bfloat16" convert everything and replace nothing.
    """
    if format != "int8":
        dtype = getattr(torch, format)
        for parameter in decoder.parameters():  # not buffers: the rotary table stays exact
            parameter.data = parameter.data.to(dtype)
        return decoder
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear):
                setattr(parent, name, Int8Linear(child.weight_OI))
    return decoder


def int8_layers(decoder: nn.Module) -> int:
    """How many products run in int8."""
    return sum(isinstance(module, Int8Linear) for module in decoder.modules())
