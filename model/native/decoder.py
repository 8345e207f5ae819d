"""The structure that tells the kernels where a model's weights and its cache are."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from torch import Tensor

from model.native import library, pack
from model.native.cache import TOKENS, QuantisedCache
from model.native.packed import PackedWeights
from model.nn.rope import Rope

_NORMS = ("attention_norm", "ffn_norm", "query_norm", "key_norm")
_BIASES = ("qkv_bias", "router", "router_bias")
_MATRICES = ("qkv", "out", "gate_up", "down", "expert_gate_up", "expert_down")


class NativeDecoder:
    """The `library.Model` of packed weights and a cache, which it keeps alive.

    Args:
        packed: the weights.
        kv: cache that steps read and write.
    """

    def __init__(self, packed: PackedWeights, kv: QuantisedCache) -> None:
        self._packed, self._kv, shape = packed, kv, packed.shape
        rope = Rope(shape.head_width, shape.rope_theta, shape.max_positions, shape.rope_factors)
        self._cosine = _floats(rope.cos_XH[:, : shape.head_width // 2])
        self._sine = _floats(rope.sin_XH[:, shape.head_width // 2 :])
        self._layers = (library.Layer * shape.layers)(*map(self._layer, range(shape.layers)))
        self._expert_tokens = (ctypes.c_int64 * max(1, shape.experts))()
        head = packed.matrix("head")
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
            embedding=head if shape.tied else packed.matrix("embedding"),
            norm=packed.pointer("norm"),
            head=head,
            expert_tokens=self._expert_tokens,
        )

    def expert_tokens(self) -> Sequence[int]:
        """Tokens routed to each expert, over all layers."""
        return list(self._expert_tokens)[: self._packed.shape.experts]

    def _layer(self, index: int) -> library.Layer:
        packed, kv, shape = self._packed, self._kv, self._packed.shape
        return library.Layer(
            **{name: packed.pointer(f"{index}.{name}") for name in (*_NORMS, *_BIASES)},
            **{name: packed.matrix(f"{index}.{name}") for name in _MATRICES},
            cosine=self._cosine.data_ptr(),
            sine=self._sine.data_ptr(),
            keys=kv.keys[index].data_ptr(),
            values=kv.values[index].data_ptr(),
            key_scale=kv.key_scales[index].data_ptr(),
            value_scale=kv.value_scales[index].data_ptr(),
            key_sum=kv.key_sums[index].data_ptr(),
            window=shape.window(index),
            globals=sum(1 << head for head in shape.globals(index)),
            group=int(shape.reach(index).bounded),
        )


def _floats(table_XH: Tensor) -> Tensor:
    return table_XH.float().contiguous()


def _whole_blocks(hidden: int) -> int:
    return -(-hidden // pack.BLOCK) * pack.BLOCK
