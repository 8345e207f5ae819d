"""Shapes of decoders.

Legend of the shape suffixes in model/nn (each file repeats the letters it needs):
T tokens of the ragged batch, S sequences, D model width, N query heads, K key/value heads, G query heads per key/value
head, H head width, F feed-forward width, E routed experts, R width of a routed expert, A experts active per token, V
vocabulary, B blocks of the KV cache, P tokens per block, M blocks per sequence (padded), C context tokens (padded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

QkNorm = Literal["none", "head", "full"]


class Reach(NamedTuple):
    """How far heads see: the latest ``window`` tokens and the sinks, or everything if ``window`` is 0.

    ``bounded``: whether all heads of the layer have the window, so that older tokens can be dropped. Bounded layers use
    separate KV blocks.
    """

    window: int = 0
    bounded: bool = False


EVERYTHING = Reach()


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder.

    Attributes:
        vocab: V. layers: number of blocks. width: D. heads: N. kv_heads: K. head_width: H.
        shared_width: F, width of the feed-forward for every token; 0 in families without one.
        experts: E, 0 for a dense model. expert_width: R. active: A.
        normalise: whether the weights of the active experts are scaled to sum to one.
        qk_norm: RMS norm of queries and keys: none, per head (Qwen3), or over all heads together (OLMoE).
        qkv_bias: whether the projections to queries, keys and values have a bias (Qwen2).
        norm_eps: epsilon of the norms. rope_theta: base of the rotary embedding.
        rope_factors: divisor of each rotary frequency, H / 2 of them (Llama 3 extends its context so); empty: none.
        max_positions: positions in the rotary table.
        tied: whether the output projection shares the embedding's weights.
        stored_twice: whether it has the same weights, but in a format of its own (GGUF files of tied models).
        windows: for each layer, how many of the latest tokens it sees, including the current one; 0: all. Empty: every
            layer sees all.
        sinks: number of first tokens that layers with a window see too (Xiao et al., 2023).
        global_heads: for each layer, the key/value heads that see everything despite the layer's window (Xiao et
            al., 2024: few heads retrieve). Empty: none.
        retrieved: number of older tokens that a head without a window reads per decoded token in a long context: the
            best matches of its query. 0: all. Only the kernels implement it; torch reads all.
    """

    vocab: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    shared_width: int
    experts: int = 0
    expert_width: int = 0
    active: int = 0
    normalise: bool = True
    qk_norm: QkNorm = "none"
    qkv_bias: bool = False
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_factors: tuple[float, ...] = ()
    max_positions: int = 8192
    tied: bool = True
    stored_twice: bool = False
    windows: tuple[int, ...] = ()
    sinks: int = 0
    global_heads: tuple[tuple[int, ...], ...] = ()
    retrieved: int = 0

    def __post_init__(self) -> None:
        assert self.heads % self.kv_heads == 0, "query heads must be a multiple of key/value heads"
        assert self.head_width % 2 == 0, "rotary embedding needs an even head width"
        assert len(self.rope_factors) in (0, self.head_width // 2), "one factor per rotary frequency"
        assert 0 <= self.active <= self.experts, "active must be between 0 and the number of experts"
        assert self.shared_width > 0 or self.experts > 0, "a block needs a feed-forward"
        assert len(self.windows) in (0, self.layers), "one window per layer"
        assert self.sinks >= 0, "sinks must not be negative"
        assert len(self.global_heads) in (0, self.layers), "one tuple of global heads per layer"
        assert all(0 <= head < self.kv_heads for heads in self.global_heads for head in heads), (
            "global heads must be below kv_heads"
        )
        assert self.retrieved % 64 == 0, "tokens are retrieved in blocks"
        assert all(window >= 0 for window in self.windows), "a window must not be negative"

    def window(self, layer: int) -> int:
        """Number of latest tokens that this layer sees; 0 for all."""
        return self.windows[layer] if self.windows else 0

    def globals(self, layer: int) -> tuple[int, ...]:
        """Key/value heads that see everything despite this layer's window; empty for a layer without one."""
        return self.global_heads[layer] if self.global_heads and self.window(layer) else ()

    def reach(self, layer: int) -> Reach:
        """How far this layer's heads see, apart from its global heads."""
        window = self.window(layer)
        return Reach(window, bounded=window > 0 and not self.globals(layer))

    @property
    def reaches(self) -> tuple[Reach, ...]:
        """`reach` of every layer."""
        return tuple(self.reach(layer) for layer in range(self.layers))

    def parameter_counts(self) -> tuple[int, int]:
        """Numbers of all parameters, and of those active per token (without the routed experts that are not chosen)."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        if self.qkv_bias:
            attention += self.head_width * (self.heads + 2 * self.kv_heads)
        shared = 3 * self.width * self.shared_width
        norms = 2 * self.width
        if self.qk_norm != "none":
            spans = self.heads + self.kv_heads if self.qk_norm == "full" else 2
            norms += spans * self.head_width
        expert = 3 * self.width * self.expert_width
        router = self.experts * self.width  # its bias only balances load, and isn't a weight
        embedding = self.vocab * self.width * (1 if self.tied or self.stored_twice else 2)
        fixed = embedding + self.width + self.layers * (attention + shared + norms + router)
        return (
            fixed + self.layers * self.experts * expert,
            fixed + self.layers * self.active * expert,
        )
