"""The numbers that make a decoder what it is.

Legend of the shape suffixes that every file of model/nn uses (each file repeats the letters it needs):
T tokens of the ragged batch, S sequences, D model width, N query heads, K key/value heads, G query heads per key/value
head, H head width, F feed-forward width, E routed experts, R width of a routed expert, A experts active per token, V
vocabulary, B blocks of the KV cache, P tokens per block, M blocks per sequence (padded), C context tokens (padded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

QkNorm = Literal["none", "head", "full"]


class Reach(NamedTuple):
    """How far heads see: the latest ``window`` tokens and the sinks, or everything where that is 0.

    ``bounded`` tells whether this holds for all heads of the layer, so that the rest can be forgotten: such layers have
    blocks of their own.
    """

    window: int = 0
    bounded: bool = False


EVERYTHING = Reach()


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
        global_heads: for each layer, the key/value heads that see everything in spite of the layer's window (Xiao et
            al., 2024: few heads retrieve). Empty: none.
        retrieved: tokens that a head which sees everything reads of a long context when an answer is written, those
            that match its query best; 0: all. The kernels only: torch reads all.
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
    global_heads: tuple[tuple[int, ...], ...] = ()
    retrieved: int = 0

    def __post_init__(self) -> None:
        assert self.heads % self.kv_heads == 0, "query heads must be a multiple of key/value heads"
        assert self.head_width % 2 == 0, "rotary embedding needs an even head width"
        assert 0 <= self.active <= self.experts, "active experts are some of the experts"
        assert self.shared_width > 0 or self.experts > 0, "a block needs a feed-forward"
        assert len(self.windows) in (0, self.layers), "one window per layer"
        assert self.sinks >= 0, "sinks are a number of tokens"
        assert len(self.global_heads) in (0, self.layers), "global heads are given for every layer"
        assert all(0 <= head < self.kv_heads for heads in self.global_heads for head in heads), "heads that exist"
        assert self.retrieved % 64 == 0, "tokens are retrieved in blocks"
        assert all(window >= 0 for window in self.windows), "a window is a number of tokens, 0 for all"

    def window(self, layer: int) -> int:
        """Latest tokens that this layer sees, 0 for all."""
        return self.windows[layer] if self.windows else 0

    def globals(self, layer: int) -> tuple[int, ...]:
        """Key/value heads of a layer with a window that see everything in spite of it."""
        return self.global_heads[layer] if self.global_heads and self.window(layer) else ()

    def reach(self, layer: int) -> Reach:
        """How far this layer's heads see, the global ones aside."""
        window = self.window(layer)
        return Reach(window, bounded=window > 0 and not self.globals(layer))

    @property
    def reaches(self) -> tuple[Reach, ...]:
        """`reach` of every layer."""
        return tuple(self.reach(layer) for layer in range(self.layers))
