"""Balances keys before they are rounded to eight bits, without any change to the attention.

The cache rounds each head's key with one scale (`model.native.cache`). In models whose projections have biases (Qwen2),
some numbers of a key are a hundred times larger than others, which then lose most of their precision. So the rows that
make the keys are divided by the keys' sizes, and the rows that make the queries are multiplied by them: the products of
queries and keys stay the same. The two numbers of a rotary pair, half a head apart, share a factor, since the rotary
embedding mixes them (as SmoothQuant does for activations: Xiao et al., 2022).

The rounding error of all scores together is smallest if the factors are the largest sizes that the pairs reach.
`model.native.calibrate` measures them. An estimate from the weights alone doesn't know which inputs are large: it costs
Qwen2.5-Coder-1.5B 1.5 % of perplexity, measured sizes less than 0.1 %.

Suffixes: O outputs, I inputs, K key/value heads, P rotary pairs of a head, H head width, N query heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.nn.shape import DecoderConfig


def balanced(shape: DecoderConfig) -> bool:
    """Whether the keys of this model are balanced: norms of heads would undo it, and without biases it gains little."""
    return shape.qkv_bias and shape.qk_norm == "none"


def estimated_sizes(shape: DecoderConfig, weight_OI: Tensor, bias_O: Tensor, norm_I: Tensor) -> Tensor:
    """Usual sizes of a layer's keys by their weights, (K, P).

    Args:
        shape: the decoder's shape.
        weight_OI, bias_O: weights and biases of queries, keys and values, one after the other.
        norm_I: weights of the norm before them, whose outputs have about this size.
    """
    heads, kv_heads, width = shape.heads, shape.kv_heads, shape.head_width
    size_O = (weight_OI.float() * norm_I.float()).square().sum(1) + bias_O.float().square()
    keys = size_O[heads * width : (heads + kv_heads) * width].view(kv_heads, 2, width // 2)
    return keys.mean(1).sqrt()


def relative_sizes(size_KP: Tensor) -> Tensor:
    """Sizes of a layer's keys, (K, P), divided by each head's geometric mean. They may not be negative."""
    size_KP = size_KP.clamp(min=1e-6)
    return size_KP / size_KP.log().mean(1, keepdim=True).exp()


def key_factors(shape: DecoderConfig, size_KP: Tensor) -> Tensor:
    """Factors of a layer's queries, keys and values, (O,), by the sizes of its keys."""
    heads, kv_heads, width = shape.heads, shape.kv_heads, shape.head_width
    size_KP = relative_sizes(size_KP)
    size_KH = torch.cat([size_KP, size_KP], 1)
    size_NH = size_KH.repeat_interleave(heads // kv_heads, 0)
    return torch.cat([size_NH.flatten(), 1 / size_KH.flatten(), torch.ones(kv_heads * width)])
