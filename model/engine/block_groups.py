"""KV blocks of a sequence for two groups of layers: those with full attention, and those with a sliding window.

Each group has its own pool and its own ids. Layers with a window need only the blocks of the first
tokens (attention sinks) and of the latest; blocks behind the window return to the pool, so their memory
doesn't grow with the sequence. A prefix can be reused up to a point if the first group has all earlier
blocks and the second has those that the next token sees (as in vLLM's hybrid KV cache manager).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from model.config import ModelConfig, resolve_kv_blocks
from model.engine.block_pool import BlockPool
from model.nn.shape import DecoderConfig


@dataclass(frozen=True)
class Span:
    """Tokens that the layers of the second group see: the latest ``window`` (their largest) and the first ``sinks``."""

    window: int
    sinks: int

    def first_seen(self, position: int, block_size: int) -> int:
        """Index of the first block after the sinks that the token at this position, or a later one, sees."""
        return max(self.sink_blocks(block_size), (position - self.window + 1) // block_size)

    def sink_blocks(self, block_size: int) -> int:
        return -(-self.sinks // block_size)

    def most_blocks(self, block_size: int, step_tokens: int, max_context: int) -> int:
        """Maximum number of blocks per sequence if a step adds at most ``step_tokens`` tokens."""
        near = -(-(self.window + step_tokens) // block_size) + 1
        return min(self.sink_blocks(block_size) + near, -(-max_context // block_size))


@dataclass
class HeldBlocks:
    """Blocks of a sequence.

    Attributes:
        full: block ids of the first group, in order.
        near: block ids of the second group in the same order; 0 for blocks that were returned or never needed.
        gap: indices in ``near`` without a block.
    """

    full: list[int] = field(default_factory=list)
    near: list[int] = field(default_factory=list)
    gap: range = range(0)

    def __len__(self) -> int:
        return len(self.full)

    @property
    def near_held(self) -> list[int]:
        return self.near[: self.gap.start] + self.near[self.gap.stop :]

    def near_table(self) -> tuple[int, ...]:
        """``near``, padded with 0 to the length of ``full``; empty without a second group."""
        if not self.near:
            return ()
        return tuple(self.near[: len(self.full)]) + (0,) * (len(self.full) - len(self.near))


class BlockGroups:
    """Block pools of both groups.

    Args:
        full: pool of the layers with full attention.
        near: pool of the layers with a window; None if there are none. Its size must be at least `Span.most_blocks`
            for every sequence that may run at once, so that `cover` always finds blocks.
        span: window and attention sinks of these layers; None if there are none.
    """

    def __init__(self, full: BlockPool, near: BlockPool | None = None, span: Span | None = None) -> None:
        assert (near is None) == (span is None), "a window needs a pool"
        assert near is None or near.block_size == full.block_size
        self.full = full
        self._near, self._span = near, span

    @property
    def block_size(self) -> int:
        return self.full.block_size

    @property
    def available(self) -> int:
        """Number of blocks that `grow` can reserve."""
        return self.full.available

    def blocks_for(self, tokens: int) -> int:
        return self.full.blocks_for(tokens)

    def used_ratio(self) -> float:
        """Used share of the fuller pool, 0..1."""
        pools = [self.full] if self._near is None else [self.full, self._near]
        return max(pool.used / pool.blocks for pool in pools)

    def match(self, keys: Sequence[bytes]) -> HeldBlocks:
        """Reserves the cached blocks of the longest prefix of ``keys`` from which a sequence can continue."""
        if self._near is None or self._span is None:
            return HeldBlocks(self.full.match(keys))
        known = takewhile(bool, self.full.known_each(keys))
        count, gap = self._longest([near for _, near in zip(known, self._near.known_each(keys), strict=False)])
        near = [*self._near.match(keys[: gap.start]), *[0] * len(gap), *self._near.match(keys[gap.stop : count])]
        return HeldBlocks(self.full.match(keys[:count]), near, gap)

    def grow(self, held: HeldBlocks, count: int) -> None:
        """Reserves ``count`` more blocks, at most ``available``."""
        held.full += self.full.allocate(count)

    def shrink(self, held: HeldBlocks, count: int) -> None:
        """Frees all blocks but the first ``count``."""
        self.full.release(held.full[count:])
        del held.full[count:]
        if self._near is not None and count < len(held.near):
            assert count >= held.gap.stop
            self._near.release(held.near[count:])
            del held.near[count:]

    def cover(self, held: HeldBlocks, tokens: int) -> None:
        """Reserves blocks of the second group for a step after which the sequence has ``tokens`` tokens."""
        if self._near is not None:
            missing = self.blocks_for(tokens) - len(held.near)
            held.near += self._near.allocate(max(0, missing))

    def publish(self, held: HeldBlocks, index: int, key: bytes) -> None:
        """Offers the block at ``index``, which is full and computed, for reuse."""
        self.full.publish(held.full[index], key)
        if self._near is not None and index not in held.gap:
            self._near.publish(held.near[index], key)

    def advance(self, held: HeldBlocks, computed: int) -> None:
        """Frees the blocks that no token at or after position ``computed`` can see."""
        if self._near is None or self._span is None:
            return
        first = self._span.first_seen(computed, self.block_size)
        start = held.gap.stop if held.gap else self._span.sink_blocks(self.block_size)
        if first > start:
            self._near.release(held.near[start:first])
            held.near[start:first] = [0] * (first - start)
            held.gap = range(held.gap.start if held.gap else start, first)

    def release(self, held: HeldBlocks) -> None:
        """Frees all blocks."""
        self.full.release(held.full)
        if self._near is not None:
            self._near.release(held.near_held)
        held.full, held.near, held.gap = [], [], range(0)

    def check_integrity(self, held: Iterable[HeldBlocks]) -> None:
        """Raises AssertionError unless the pools' reference counts match these holders exactly."""
        holders = list(held)
        self.full.check_integrity([each.full for each in holders])
        if self._near is None:
            assert not any(each.near for each in holders), "blocks of a group that isn't there"
            return
        self._near.check_integrity([each.near_held for each in holders])
        for each in holders:
            assert 0 <= each.gap.start <= each.gap.stop <= len(each.near), "the gap lies within the table"

    def _longest(self, known: Sequence[bool]) -> tuple[int, range]:
        """Number of reusable blocks of a prefix, and their gap. ``known``: which blocks the second group has cached."""
        assert self._span is not None
        sinks = self._span.sink_blocks(self.block_size)
        best, gap = 0, range(0)
        run = 0  # consecutive known blocks up to here
        for count, here in enumerate(known, 1):
            run = run + 1 if here else 0
            if count <= sinks and not here:
                break
            first = self._span.first_seen(count * self.block_size, self.block_size)
            if run >= count - first:
                best, gap = count, range(min(sinks, count), min(first, count))
        return best, gap if gap else range(0)


def block_groups(shape: DecoderConfig, config: ModelConfig) -> BlockGroups:
    """Block pools for a model of this shape, sized by the configuration."""
    full = BlockPool(resolve_kv_blocks(config), config.block_size)
    span, near = _span(shape), window_blocks(shape, config)
    return BlockGroups(full, BlockPool(near, config.block_size) if near else None, span)


def window_blocks(shape: DecoderConfig, config: ModelConfig) -> int:
    """Number of blocks of the layers with a window; 0 if there are none.

    Twice the maximum need of all slots, to cache prefixes of finished sequences too. The second half is reduced so
    that the total doesn't exceed the other layers' number of blocks.
    """
    span = _span(shape)
    if span is None:
        return 0
    step_tokens = max(config.step_tokens, config.slots)
    needed = config.slots * span.most_blocks(config.block_size, step_tokens, config.max_context)
    return max(needed, min(2 * needed, resolve_kv_blocks(config)))


def _span(shape: DecoderConfig) -> Span | None:
    window = max((reach.window for reach in shape.reaches if reach.bounded), default=0)
    return Span(window, shape.sinks) if window else None
