"""Converts a decoder to another number format, in place."""

from __future__ import annotations

import torch
from torch import nn

from model.config import ResolvedDtype
from model.nn.decoder import Decoder
from model.nn.linear import Linear
from model.quant.grouped import GROUP, GroupedLinear, GroupedRows
from model.quant.int8 import Int8Linear, Int8Rows, fits


def quantise(decoder: Decoder, format: ResolvedDtype, native: bool = False) -> Decoder:
    """Converts a decoder's weights and returns the decoder.

    "float32" and "bfloat16" convert every parameter. "int8" replaces every `Linear` that torch's kernel supports
    (attention, shared experts, output projection). "int4" replaces the same layers, except that the output projection
    becomes int8, since its errors affect the logits directly. "mixed" is for weights that have the formats of their
    file already; what is left becomes int8. The other parameters become bfloat16, the activations' dtype in torch's
    kernels; with ``native`` they are not converted, since the kernels of model/native use float32.
    """
    if format in ("int8", "int4", "mixed"):
        # Before the conversion, so that weights are rounded only once.
        for parent in list(decoder.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Linear):
                    setattr(parent, name, _quantised(child, format, child is decoder.head))
        if native:
            return decoder
    wide = torch.float32 if format == "float32" else torch.bfloat16
    for parameter in decoder.parameters():  # not buffers: the rotary table stays as it is
        parameter.data = parameter.data.to(wide)
    if isinstance(decoder.head, Int8Linear) and decoder.config.tied:
        decoder.head.wide_OI = decoder.embedding.weight_VD.detach()  # shares the memory
    return decoder


def _quantised(linear: Linear, format: ResolvedDtype, head: bool) -> nn.Module:
    weight_OI = linear.weight_OI
    if format == "int4" and not head and weight_OI.shape[1] % GROUP == 0:
        return GroupedLinear(GroupedRows.of(weight_OI))
    return Int8Linear(Int8Rows.of(weight_OI)) if fits(weight_OI) else linear


def int8_layers(decoder: nn.Module) -> int:
    """Number of int8 layers."""
    return sum(isinstance(module, Int8Linear) for module in decoder.modules())
