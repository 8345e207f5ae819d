"""Packed weights, their file and the cache of such files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.engine.kv_cache import kv_cache
from model.engine.runner import LocalRunner, Runner, SequenceStep, StepBatch
from model.native import kinds
from model.native.cache import QuantisedCache
from model.native.packed import PackedWeights
from model.native.runner import NativeRunner
from model.native.support import machine_obstacle
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.quant.grouped import Bits, GroupedEmbedding, GroupedRows
from model.quant.quantise import quantise
from model.weights import packed_cache
from model.weights.form import Form
from model.weights.packed_cache import loaded_weights
from model.weights.tiny import random_decoder

pytestmark = pytest.mark.skipif(machine_obstacle() is not None, reason=str(machine_obstacle()))
KERNELS = Path(ModelConfig().cache).expanduser()
UNTIED = DecoderConfig(
    vocab=320, layers=2, width=64, heads=4, kv_heads=2, head_width=32, shared_width=80, max_positions=256, tied=False
)


def made(seed: int = 0) -> Decoder:
    return quantise(random_decoder(UNTIED, seed), "int8", native=True)


def logits(runner: Runner) -> torch.Tensor:
    return runner.run(StepBatch((SequenceStep(tuple(range(7, 207)), 0, tuple(range(13)), 200),)))


def native(packed: PackedWeights, kind: kinds.ResolvedKernels | str = "auto") -> torch.Tensor:
    return logits(NativeRunner(packed, QuantisedCache(packed.shape, 16, 16), 1, KERNELS, kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [kind.name for kind in kinds.available()])
@pytest.mark.parametrize("rounded", [GroupedRows.of, GroupedRows.symmetric])
@pytest.mark.parametrize("bits", [4, 5, 6, 8])
def test_an_embedding_of_any_format_is_read_as_it_is(
    bits: Bits, rounded: Callable[[torch.Tensor, Bits], GroupedRows], kind: str
) -> None:
    decoder = made()
    decoder.embedding = GroupedEmbedding(rounded(decoder.embedding.weight_VD, bits))  # type: ignore[assignment]
    expected = logits(LocalRunner(decoder, kv_cache(UNTIED, torch.float32, 16, 16)))
    got = native(PackedWeights.of(decoder), kind)
    errors = (got - expected).pow(2).mean(-1).sqrt() / expected.std()
    assert errors.median() < 0.05
    assert (got.argmax(-1) == expected.argmax(-1)).float().mean() > 0.8


def test_a_file_gives_back_what_was_packed(tmp_path: Path) -> None:
    packed = PackedWeights.of(made())
    packed.save(tmp_path / "packed.safetensors")
    again = PackedWeights.load(tmp_path / "packed.safetensors", UNTIED)
    assert again.layouts == packed.layouts
    assert {name: tensor.data_ptr() % 64 for name, tensor in again.tensors.items()} == dict.fromkeys(packed.tensors, 0)
    assert torch.equal(native(again), native(packed))


class Cache:
    """A cache of one model's file, which counts how often the model is loaded from that file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packed_cache, "WORTH", 0)
        self.config, self.source, self.loads = ModelConfig(cache=str(folder / "cache")), folder / "model.gguf", 0
        self.source.write_bytes(b"weights")

    def weights(self, **change: int) -> PackedWeights:
        def make() -> Decoder:
            self.loads += 1
            return made()

        form = Form("int8", kernels=True)
        config = replace(self.config, **change)  # type: ignore[arg-type]
        found = loaded_weights(config, form, [self.source], UNTIED, make, str.encode)
        assert isinstance(found, PackedWeights)
        return found

    @property
    def files(self) -> list[Path]:
        return sorted(Path(self.config.cache).iterdir())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return Cache(tmp_path, monkeypatch)


def test_a_model_is_packed_once(cache: Cache) -> None:
    first, second = cache.weights(), cache.weights()
    assert cache.loads == 1
    assert torch.equal(native(first), native(second))


def test_another_file_or_seed_is_packed_anew(cache: Cache) -> None:
    cache.weights()
    cache.weights(seed=1)
    assert cache.loads == 2
    os.utime(cache.source, (1, 1))
    cache.weights()
    assert cache.loads == 3


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_cached_file_is_replaced(cache: Cache, content: bytes) -> None:
    expected = native(cache.weights())
    cache.files[0].write_bytes(content)
    assert torch.equal(native(cache.weights()), expected)
    cache.weights()
    assert cache.loads == 2


def test_old_files_are_deleted(cache: Cache) -> None:
    for seed in range(packed_cache.KEPT + 2):
        cache.weights(seed=seed)
        os.utime(max(cache.files, key=lambda each: each.stat().st_mtime_ns), (seed + 1, seed + 1))
    assert len(cache.files) == packed_cache.KEPT
    cache.weights(seed=packed_cache.KEPT + 1)
    assert cache.loads == packed_cache.KEPT + 2


def test_a_cache_that_cannot_be_written_is_no_obstacle(cache: Cache) -> None:
    Path(cache.config.cache).write_text("a file")
    cache.weights()
    cache.weights()
    assert cache.loads == 2
