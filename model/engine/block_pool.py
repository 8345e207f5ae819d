"""Block ids of the KV cache, with reference counts and reuse of full blocks as cached prefixes."""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b


class BlockPool:
    """Hands out block ids with reference counts.

    A freed block keeps its content until it is handed out again. So a full block, published under the hash
    of all tokens up to its end, can serve the next request with the same prefix.

    Args:
        blocks: number of blocks.
        block_size: tokens per block.
    """

    def __init__(self, blocks: int, block_size: int) -> None:
        assert blocks > 0
        assert block_size > 0
        self.blocks = blocks
        self.block_size = block_size
        self._references = [0] * blocks
        self._keys: list[bytes | None] = [None] * blocks
        self._published: dict[bytes, int] = {}
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(blocks))  # in the order of their reuse

    @property
    def available(self) -> int:
        return len(self._free)

    @property
    def used(self) -> int:
        return self.blocks - len(self._free)

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def allocate(self, count: int) -> list[int]:
        """Reserves ``count`` blocks, at most ``available``. Their content is undefined."""
        assert count <= self.available
        taken = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in taken:
            self._references[block] = 1
            key, self._keys[block] = self._keys[block], None
            if key is not None:
                del self._published[key]
        return taken

    def match(self, keys: Iterable[bytes]) -> list[int]:
        """Adds a reference to each published block of the longest known prefix of ``keys``, and returns the blocks."""
        found: list[int] = []
        for key in keys:
            block = self._published.get(key)
            if block is None:
                break
            self._free.pop(block, None)
            self._references[block] += 1
            found.append(block)
        return found

    def known_each(self, keys: Iterable[bytes]) -> list[bool]:
        """For each key, whether a block is published under it."""
        return [key in self._published for key in keys]

    def publish(self, block: int, key: bytes) -> None:
        """Offers a full, computed block for reuse, unless another one is published under the key."""
        assert self._references[block] > 0
        if self._keys[block] is None and key not in self._published:
            self._keys[block] = key
            self._published[key] = block

    def release(self, blocks: Sequence[int]) -> None:
        """Drops one reference to each block. Blocks of a prefix stay cached longer than those after them."""
        for block in reversed(blocks):
            assert self._references[block] > 0
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None
                if self._keys[block] is None:
                    self._free.move_to_end(block, last=False)

    def check_integrity(self, held: Iterable[Sequence[int]]) -> None:
        """Raises AssertionError unless the reference counts match the ``held`` block lists exactly."""
        expected = Counter(block for blocks in held for block in blocks)
        for block, count in enumerate(self._references):
            assert count == expected[block], f"block {block}: {count} references, {expected[block]} holders"
            assert (block in self._free) == (count == 0), f"block {block} is free and held, or neither"
        published = {key: block for block, key in enumerate(self._keys) if key is not None}
        assert published == self._published, "the published blocks and their keys disagree"


def extend_keys(keys: list[bytes], tokens: Sequence[int], block_size: int, scope: str) -> None:
    """Appends the missing keys of the full blocks of ``tokens`` to ``keys``.

    A key hashes ``scope`` and everything up to its block's end, so different scopes share no blocks.
    """
    for start in range(len(keys) * block_size, len(tokens) - block_size + 1, block_size):
        previous = keys[-1] if keys else scope.encode()
        content = array("Q", tokens[start : start + block_size]).tobytes()
        keys.append(blake2b(content, key=blake2b(previous, digest_size=32).digest(), digest_size=16).digest())
