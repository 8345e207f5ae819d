"""The cache's tensors by group of layers."""

import pytest
import torch

from model.engine.kv_cache import KVCache


def test_layers_with_a_window_have_their_own_number_of_blocks() -> None:
    kv = KVCache(3, 10, 4, 2, 8, torch.bfloat16, bounded=(True, False, True), window_blocks=6)
    assert [len(keys) for keys in kv.keys] == [24, 40, 24]
    assert [values.shape for values in kv.values] == [(24, 2, 8), (40, 2, 8), (24, 2, 8)]
    assert kv.nbytes == 2 * (24 + 40 + 24) * 2 * 8 * 2


def test_without_blocks_of_their_own_the_same_ids_serve_all() -> None:
    kv = KVCache(2, 10, 4, 2, 8, torch.float32, bounded=(True, False))
    assert kv.window_blocks == kv.blocks
    assert {len(keys) for keys in kv.keys} == {40}


def test_what_is_written_is_read_in_the_order_asked_for() -> None:
    kv = KVCache(2, 2, 4, 1, 2, torch.float32)
    key, value = torch.randn(3, 1, 2), torch.randn(3, 1, 2)
    kv.write(1, key, value, torch.tensor([5, 0, 2]))
    read_key, read_value = kv.read(1, torch.tensor([2, 5]))
    assert torch.equal(read_key, key[[2, 0]])
    assert torch.equal(read_value, value[[2, 0]])
    assert not kv.keys[0].any()


def test_every_layer_is_bounded_or_not() -> None:
    with pytest.raises(AssertionError):
        KVCache(3, 10, 4, 2, 8, torch.float32, bounded=(True, False))
