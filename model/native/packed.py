"""A decoder's weights as the kernels read them, and their file in the cache.

Suffixes: E experts, O outputs, I inputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.native import library, pack
from model.native.balance import balanced, estimated_sizes, key_factors, relative_sizes
from model.native.memory import settled
from model.native.pack import Layout, Weights
from model.nn.attention import Attention
from model.nn.decoder import Block, Decoder
from model.nn.embedding import Embedding
from model.nn.experts import Experts
from model.nn.shape import DecoderConfig
from model.quant.grouped import GROUP, GroupedEmbedding, GroupedLinear, GroupedRows
from model.quant.int8 import Int8Linear, Int8Rows

NARROW = 64
"""Experts narrower than this are packed as int8 even in an int4 model: they take little memory, and int4 would lose
too much of their precision."""
_SCALE = ".scale"


@dataclass(frozen=True)
class PackedWeights:
    """All weights of a decoder, packed.

    Attributes:
        shape: the decoder's shape.
        tensors: norms, biases and routers in float32; matrices as bytes, with the scales of rows under ``NAME.scale``.
        layouts: the matrices' layouts.
    """

    shape: DecoderConfig
    tensors: Mapping[str, Tensor]
    layouts: Mapping[str, Layout]

    @classmethod
    def of(cls, decoder: Decoder) -> PackedWeights:
        """Packs a decoder with quantised weights (`model.quant.quantise`)."""
        packing = _Packing.of(decoder)
        return cls(decoder.config, settled(packing.tensors), packing.layouts)

    def balanced_by(self, decoder: Decoder, sizes_LKP: Tensor) -> PackedWeights:
        """The same weights with keys balanced by measured sizes.

        Args:
            decoder: the decoder that these weights were packed from.
            sizes_LKP: sizes of the keys as these weights make them, by layer, head and rotary pair
                (`model.native.calibrate.key_sizes`).
        """
        packing = _Packing()
        for index, block in enumerate(decoder.blocks):
            assert isinstance(block, Block)
            # The measured keys have been divided by the estimate.
            estimate_KP = relative_sizes(_estimated_sizes(self.shape, block.attention, block.attention_norm.weight_D))
            packing.projections(self.shape, f"{index}.", block.attention, estimate_KP * sizes_LKP[index])
        return PackedWeights(
            self.shape, settled({**self.tensors, **packing.tensors}), {**self.layouts, **packing.layouts}
        )

    @classmethod
    def load(cls, path: Path, shape: DecoderConfig) -> PackedWeights:
        """Reads a file of `save`.

        Raises:
            OSError, SafetensorError, ValueError: the file can't be read.
        """
        with safe_open(path, framework="pt") as file:
            layouts = json.loads(file.metadata()["layouts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return cls(shape, settled(tensors), {name: Layout(*each) for name, each in layouts.items()})

    def save(self, path: Path) -> None:
        """Writes a file that `load` reads. Raises OSError or SafetensorError."""
        layouts = {name: (each.bits, each.minimum, each.outputs, each.groups) for name, each in self.layouts.items()}
        save_file(dict(self.tensors), path, {"layouts": json.dumps(layouts)})

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def matrix(self, name: str) -> library.Matrix:
        """A matrix in the form that the kernels expect, which is zero if there is none."""
        layout = self.layouts.get(name)
        if layout is None:
            return library.Matrix()
        scale = self.pointer(name + _SCALE)
        codes = self.pointer(name)
        return library.Matrix(codes, scale, layout.bits, layout.minimum, layout.outputs, layout.groups)

    def pointer(self, name: str) -> int | None:
        """Address of a tensor; None if there is none."""
        return self.tensors[name].data_ptr() if name in self.tensors else None


class _Packing:
    """Packs the parts of a decoder one after the other."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.layouts: dict[str, Layout] = {}
        self._int4 = False

    @classmethod
    def of(cls, decoder: Decoder) -> _Packing:
        """Packs a whole decoder."""
        packing = cls()
        bits = {module.rows.bits for module in decoder.modules() if isinstance(module, GroupedLinear)}
        packing._int4 = bits == {4}
        for index, block in enumerate(decoder.blocks):
            assert isinstance(block, Block)
            packing._block(decoder.config, f"{index}.", block)
        if not decoder.config.tied:
            packing._matrix("embedding", _embedding(decoder.embedding))
        packing._float("norm", decoder.norm.weight_D)
        packing._matrix("head", _weights(decoder.head))
        return packing

    def projections(self, shape: DecoderConfig, at: str, attention: Attention, size_KP: Tensor | None) -> None:
        """Packs the projections to queries, keys and values, balanced by the keys' sizes."""
        qkv = _weights(attention.qkv)
        bias_Y: Tensor | None = attention.bias_Y
        if bias_Y is not None and size_KP is not None:
            factor_Y = key_factors(shape, size_KP)
            qkv, bias_Y = qkv.scaled(factor_Y), bias_Y * factor_Y
        self._matrix(at + "qkv", qkv)
        if bias_Y is not None:
            self._float(at + "qkv_bias", bias_Y)

    def _block(self, shape: DecoderConfig, at: str, block: Block) -> None:
        attention, moe = block.attention, block.moe
        norm_D = block.attention_norm.weight_D
        self.projections(shape, at, attention, _estimated_sizes(shape, attention, norm_D) if balanced(shape) else None)
        self._float(at + "attention_norm", norm_D)
        self._float(at + "ffn_norm", block.moe_norm.weight_D)
        self._matrix(at + "out", _weights(attention.out))
        if attention.q_norm is not None and attention.k_norm is not None:
            self._float(at + "query_norm", attention.q_norm.weight_D)
            self._float(at + "key_norm", attention.k_norm.weight_D)
        if moe.shared is not None:
            self._matrix(at + "gate_up", pack.gate_up(_weights(moe.shared.gate_up)))
            self._matrix(at + "down", pack.down(_weights(moe.shared.down)))
        if moe.router is not None and moe.experts is not None:
            self._float(at + "router", moe.router.weight_ED)
            self._float(at + "router_bias", moe.router.bias_E)
            self._matrix(at + "expert_gate_up", *map(pack.gate_up, self._gate_ups(moe.experts)))
            self._matrix(at + "expert_down", *map(pack.down, self._downs(moe.experts)))

    def _gate_ups(self, experts: Experts) -> list[Weights]:
        return [self._rounded(each, experts.hidden) for each in experts.gate_up_EXD]

    def _downs(self, experts: Experts) -> list[Weights]:
        return [self._rounded(each, experts.hidden) for each in experts.down_DER.unbind(1)]

    def _rounded(self, weight_OI: Tensor, hidden: int) -> Weights:
        if self._int4 and hidden >= NARROW and weight_OI.shape[1] % GROUP == 0:
            return GroupedRows.of(weight_OI)
        return Int8Rows.of(weight_OI)

    def _matrix(self, name: str, *experts: Weights) -> None:
        self.tensors[name], scale, self.layouts[name] = pack.pack(experts)
        if scale is not None:
            self.tensors[name + _SCALE] = scale

    def _float(self, name: str, values: Tensor) -> None:
        self.tensors[name] = values.detach().float().contiguous()


def _weights(linear: nn.Module) -> Weights:
    assert isinstance(linear, GroupedLinear | Int8Linear)
    return linear.rows


def _embedding(embedding: nn.Module) -> Weights:
    if isinstance(embedding, GroupedEmbedding):
        return embedding.rows
    assert isinstance(embedding, Embedding)
    return GroupedRows.of(embedding.weight_VD, 8)


def _estimated_sizes(shape: DecoderConfig, attention: Attention, norm_D: Tensor) -> Tensor:
    assert attention.bias_Y is not None, "only models with biases are balanced"
    return estimated_sizes(shape, _weights(attention.qkv).dequantised(), attention.bias_Y, norm_D)
