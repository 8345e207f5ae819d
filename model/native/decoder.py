"""Packs a decoder's weights for the kernels.

Suffixes: E experts, X position, h half a head's width.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.native import library, pack
from model.native.balance import key_factors
from model.native.cache import TOKENS, QuantisedCache
from model.native.pack import Packed, Weights
from model.nn.decoder import Block, Decoder
from model.nn.experts import Experts
from model.quant.grouped import GROUP, GroupedLinear, GroupedRows
from model.quant.int8 import Int8Linear, Int8Rows

NARROW = 64
"""Experts narrower than this are packed as int8 even in an int4 model: they take little memory, and int4 would lose
too much of their precision."""


class NativeDecoder:
    """The `library.Model` of a decoder, and the memory that it points to.

    Args:
        decoder: with quantised weights (`model.quant.quantise`).
        kv: cache that steps read and write.
    """

    def __init__(self, decoder: Decoder, kv: QuantisedCache) -> None:
        self._kept: list[Tensor | Packed] = []
        shape = decoder.config
        self._blocks = [block for block in decoder.blocks if isinstance(block, Block)]
        self._cosine = self._float(decoder.rope.cos_XH[:, : shape.head_width // 2])
        self._sine = self._float(decoder.rope.sin_XH[:, shape.head_width // 2 :])
        self._int4 = {module.rows.bits for module in decoder.modules() if isinstance(module, GroupedLinear)} == {4}
        layers = [self._layer(decoder, kv, index, block) for index, block in enumerate(self._blocks)]
        self._layers = (library.Layer * len(layers))(*layers)
        self._expert_tokens = (ctypes.c_int64 * max(1, shape.experts))()
        self.model = library.Model(
            shape=library.Shape(
                layers=shape.layers,
                width=shape.width,
                heads=shape.heads,
                kv_heads=shape.kv_heads,
                head_width=shape.head_width,
                hidden=_whole_blocks(shape.shared_width),
                vocabulary=shape.vocab,
                experts=shape.experts,
                expert_hidden=_whole_blocks(shape.expert_width),
                active=shape.active,
                normalise=shape.normalise,
                full_norm=shape.qk_norm == "full",
                block_size=kv.block_size,
                sinks=shape.sinks,
                retrieved=min(shape.retrieved, -(-shape.max_positions // 64) * 64) // TOKENS,
                epsilon=shape.norm_eps,
            ),
            layers=self._layers,
            # A tied embedding is read from the head, so that it exists only once.
            embedding=0 if shape.tied else self._keep(decoder.embedding.detach().to(torch.bfloat16).contiguous()),
            norm=self._float(decoder.norm.weight_D),
            head=self._matrix([_weights(decoder.head)]),
            expert_tokens=self._expert_tokens,
        )
        self.experts = shape.experts

    @property
    def nbytes(self) -> int:
        """Size of all packed weights."""
        return sum(each.nbytes for each in self._kept)

    def expert_tokens(self) -> Sequence[int]:
        """Tokens routed to each expert, over all layers."""
        return list(self._expert_tokens)[: self.experts]

    def _layer(self, decoder: Decoder, kv: QuantisedCache, index: int, block: Block) -> library.Layer:
        attention, moe, shape = block.attention, block.moe, decoder.config
        qkv = _weights(attention.qkv)
        bias_Y: Tensor | None = attention.bias_Y
        if bias_Y is not None and shape.qk_norm == "none":
            factor_Y = key_factors(shape, qkv.dequantised(), bias_Y, block.attention_norm.weight_D)
            qkv, bias_Y = qkv.scaled(factor_Y), bias_Y * factor_Y
        layer = library.Layer(
            attention_norm=self._float(block.attention_norm.weight_D),
            ffn_norm=self._float(block.moe_norm.weight_D),
            cosine=self._cosine,
            sine=self._sine,
            qkv=self._matrix([qkv]),
            out=self._matrix([_weights(attention.out)]),
            keys=kv.keys[index].data_ptr(),
            values=kv.values[index].data_ptr(),
            key_scale=kv.key_scales[index].data_ptr(),
            value_scale=kv.value_scales[index].data_ptr(),
            key_sum=kv.key_sums[index].data_ptr(),
            window=shape.window(index),
            globals=sum(1 << head for head in shape.globals(index)),
            group=int(shape.reach(index).bounded),
        )
        if bias_Y is not None:
            layer.qkv_bias = self._float(bias_Y)
        if attention.q_norm is not None and attention.k_norm is not None:
            layer.query_norm = self._float(attention.q_norm.weight_D)
            layer.key_norm = self._float(attention.k_norm.weight_D)
        if moe.shared is not None:
            layer.gate_up = self._matrix([pack.gate_up(_weights(moe.shared.gate_up))])
            layer.down = self._matrix([pack.down(_weights(moe.shared.down))])
        if moe.router is not None and moe.experts is not None:
            layer.router = self._float(moe.router.weight_ED)
            layer.router_bias = self._float(moe.router.bias_E)
            layer.expert_gate_up = self._matrix([pack.gate_up(each) for each in self._gate_ups(moe.experts)])
            layer.expert_down = self._matrix([pack.down(each) for each in self._downs(moe.experts)])
        return layer

    def _gate_ups(self, experts: Experts) -> list[Weights]:
        return [self._rounded(each, experts.hidden) for each in experts.gate_up_EXD]

    def _downs(self, experts: Experts) -> list[Weights]:
        return [self._rounded(each, experts.hidden) for each in experts.down_DER.unbind(1)]

    def _rounded(self, weight_OI: Tensor, hidden: int) -> Weights:
        if self._int4 and hidden >= NARROW and weight_OI.shape[1] % GROUP == 0:
            return GroupedRows.of(weight_OI)
        return Int8Rows.of(weight_OI)

    def _matrix(self, experts: Sequence[Weights]) -> library.Matrix:
        packed = pack.pack(experts)
        self._kept.append(packed)
        return packed.matrix

    def _float(self, values: Tensor) -> int:
        return self._keep(values.detach().float().contiguous())

    def _keep(self, values: Tensor) -> int:
        self._kept.append(values)
        return values.data_ptr()


def _weights(linear: nn.Module) -> Weights:
    assert isinstance(linear, GroupedLinear | Int8Linear)
    return linear.rows


def _whole_blocks(hidden: int) -> int:
    return -(-hidden // pack.BLOCK) * pack.BLOCK
