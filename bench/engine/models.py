"""Models for the measurements."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from bench.peers.checkpoint import random_checkpoint
from bench.peers.shapes import DENSE, MIXTURE
from model.config import EDGE, STANDARD, Dtype, Kernels, ModelConfig
from model.native.packed import PackedWeights
from model.nn.shape import DecoderConfig
from model.quant.grouped import GroupedLinear
from model.quant.int8 import Int8Linear
from model.quant.quantise import quantise
from model.weights.files import model_path
from model.weights.form import form_for
from model.weights.gguf import GgufFile
from model.weights.gguf_decoder import gguf_shape
from model.weights.load import load_model
from model.weights.loaded import LoadedModel
from model.weights.tiny import TINY, embedded_tokenizer, random_decoder

FORMATS: tuple[Dtype, ...] = tuple(dtype for dtype in get_args(Dtype) if dtype != "auto")

WINDOWS, RETRIEVED = {EDGE: 512, STANDARD: 2048}, 512
"""Settings for long inputs: tokens that heads with a window see, and older tokens that the other heads retrieve per
decoded token (docs/decisions/0010-windows.md)."""


def fastest(model: str = STANDARD) -> Dtype:
    """The format that the engine picks for an embedded model on this processor."""
    file = GgufFile(model_path(ModelConfig(model)))
    return form_for(ModelConfig(), gguf_shape(file), file.form).dtype


class Models:
    """Creates the models, a new one with each call.

    Args:
        name: the embedded model to measure.

    Raises:
        ConfigError: the embedded model isn't installed, or this processor doesn't support the format.
    """

    def __init__(self, name: str = STANDARD) -> None:
        self.name = name

    def embedded(self, dtype: Dtype, *, mixture: bool = False, kernels: Kernels = "auto") -> LoadedModel:
        """The embedded model: its dense base, or the upcycled mixture."""
        experts = ModelConfig.routed_experts if mixture else 0
        return load_model(ModelConfig(self.name, dtype=dtype, routed_experts=experts, kernels=kernels))

    def windowed(self) -> LoadedModel:
        """The dense base in the fastest format, with a window for most attention heads."""
        window = WINDOWS.get(self.name, WINDOWS[STANDARD])
        return load_model(
            ModelConfig(self.name, routed_experts=0, attention_window=window, attention_retrieved=RETRIEVED)
        )

    def mixture(self, dtype: Dtype) -> LoadedModel:
        """The random mixture of `bench.peers.shapes`, from the file that transformers loads too."""
        return load_model(ModelConfig(model=str(random_checkpoint(MIXTURE)), dtype=dtype))

    def dense(self, dtype: Dtype) -> LoadedModel:
        """The random dense model of the same size."""
        return load_model(ModelConfig(model=str(random_checkpoint(DENSE)), dtype=dtype))


class TinyModels(Models):
    """Tiny models that run in milliseconds, to test the measurements."""

    def embedded(self, dtype: Dtype, *, mixture: bool = False, kernels: Kernels = "auto") -> LoadedModel:
        return self.mixture(dtype) if mixture else _random(_TINY_DENSE, dtype, kernels)

    def windowed(self) -> LoadedModel:
        return _random(replace(_TINY_DENSE, windows=(0, 16), sinks=4), "auto")

    def mixture(self, dtype: Dtype) -> LoadedModel:
        return _random(TINY, dtype)

    def dense(self, dtype: Dtype) -> LoadedModel:
        return _random(_TINY_DENSE, dtype)


_TINY_DENSE = replace(TINY, experts=0, expert_width=0, active=0)


def _random(shape: DecoderConfig, dtype: Dtype, kernels: Kernels = "auto") -> LoadedModel:
    form = form_for(ModelConfig(dtype=dtype, kernels=kernels), shape)
    decoder = quantise(random_decoder(shape, seed=0), form.dtype, native=form.kernels)
    return LoadedModel.of(decoder, embedded_tokenizer(), "random", form)


def matrix_bytes(loaded: LoadedModel) -> int:
    """Bytes of all matrices in memory, including scales; shared ones count once."""
    if isinstance(loaded.weights, PackedWeights):
        return sum(each.nbytes for name, each in loaded.weights.tensors.items() if name in loaded.weights.layouts)
    quantised = [each.rows for each in loaded.decoder.modules() if isinstance(each, GroupedLinear | Int8Linear)]
    tensors = {each.data_ptr(): each for each in loaded.decoder.parameters() if each.ndim > 1}
    if quantised and loaded.config.tied:
        del tensors[loaded.decoder.embedding.weight_VD.data_ptr()]  # read from the head
    return sum(each.nbytes for each in quantised) + sum(each.nbytes for each in tensors.values())
