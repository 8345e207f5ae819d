from __future__ import annotations

import pytest

from model.engine.block_pool import BlockPool, extend_keys


def keys_of(tokens: list[int], scope: str = "a", size: int = 4) -> list[bytes]:
    keys: list[bytes] = []
    extend_keys(keys, tokens, size, scope)
    return keys


def test_a_key_covers_everything_before_it_and_its_scope() -> None:
    keys = keys_of([*range(12)])
    assert len(keys) == 3
    assert keys_of([*range(11)]) == keys[:2]
    assert keys_of([99, *range(1, 12)])[1:] != keys[1:]
    assert not set(keys_of([*range(12)], scope="b")) & set(keys)


def test_keys_grow_with_the_tokens() -> None:
    keys = keys_of([*range(5)])
    extend_keys(keys, [*range(9)], 4, "a")
    assert keys == keys_of([*range(9)])


def test_published_blocks_are_found_until_their_block_is_needed() -> None:
    pool = BlockPool(4, 4)
    keys = keys_of([*range(8)])
    blocks = pool.allocate(2)
    for block, key in zip(blocks, keys, strict=True):
        pool.publish(block, key)
    pool.release(blocks)
    assert pool.available == 4
    assert pool.match(keys) == blocks
    pool.check_integrity([blocks])
    pool.release(blocks)
    pool.allocate(3)  # two never published, and the published one that the other doesn't need
    assert pool.match(keys) == blocks[:1]


def test_a_shared_block_is_free_only_after_its_last_holder() -> None:
    pool = BlockPool(2, 4)
    key = keys_of([*range(4)])
    first = pool.allocate(1)
    pool.publish(first[0], key[0])
    second = pool.match(key)
    assert second == first
    pool.release(first)
    assert pool.available == 1
    pool.check_integrity([second])
    pool.release(second)
    assert pool.available == 2


def test_integrity_notices_a_leak() -> None:
    pool = BlockPool(2, 4)
    pool.allocate(1)
    with pytest.raises(AssertionError):
        pool.check_integrity([])
