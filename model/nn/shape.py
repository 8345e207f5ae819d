"""The numbers that make a decoder what it is.

Legend of the shape suffixes that every file of model/nn uses (each file repeats the letters it needs):
T tokens of the ragged batch, S sequences, D model width, N query heads, K key/value heads, G query heads per key/value
head, H head width, F feed-forward width, E routed experts, R width of a routed expert, A experts active per token, V
vocabulary, B blocks of the KV cache, P tokens per block, M blocks per sequence (padded), C context tokens (padded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

QkNorm = Literal["none", "head", "full"]


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder.

    Attributes:
        vocab: V. layers: number of blocks. width: D. heads: N. kv_heads: K. head_width: H.
        shared_width: F, width of the feed-forward that every token passes; 0 where a family has none.
        experts: E, 0 for a dense model. expert_width: R. active: A.
        normalise: whether the weights of the active experts are scaled to sum to one.
        qk_norm: RMS norm of queries and keys: none, per head (Qwen3), or over all heads together (OLMoE).
        max_positions: positions for which the rotary table is made.
        tied: whether the output projection is the embedding.
        windows: for each layer, how many of the latest tokens it sees, the current one included; 0: all of them. Empty:
            every layer sees all.
        sinks: the first tokens, which layers with a window see as well (Xiao et al., 2023).
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
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    max_positions: int = 8192
    tied: bool = True
    windows: tuple[int, ...] = ()
    sinks: int = 0

    def __post_init__(self) -> None:
        assert self.heads % self.kv_heads == 0, "query heads must be a multiple of key/value heads"
        assert self.head_width % 2 == 0, "rotary embedding needs an even head width"
        assert 0 <= self.active <= self.experts, "active experts are some of the experts"
        assert self.shared_width > 0 or self.experts > 0, "a block needs a feed-forward"
        assert len(self.windows) in (0, self.layers), "one window per layer"
        assert self.sinks >= 0, "sinks are a number of tokens"
        assert all(window >= 0 for window in self.windows), "a window is a number of tokens, 0 for all"

    def window(self, layer: int) -> int:
        """Latest tokens that this layer sees, 0 for all."""
        return self.windows[layer] if self.windows else 0
