"""The models that are measured."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from torch import Tensor

from bench.peers.checkpoint import random_checkpoint
from bench.peers.shapes import DENSE, MIXTURE
from model.config import Dtype, ModelConfig, resolve_dtype
from model.nn.shape import DecoderConfig
from model.quant.quantise import quantise
from model.weights.assemble import processor_features
from model.weights.load import load_model
from model.weights.loaded import LoadedModel
from model.weights.tiny import TINY, embedded_tokenizer, random_decoder

FORMATS: tuple[Dtype, ...] = tuple(dtype for dtype in get_args(Dtype) if dtype != "auto")

WINDOW = 1024
"""Tokens that the layers with a window see, for long inputs."""


def fastest() -> Dtype:
    """The format that the engine takes by itself on this processor."""
    return resolve_dtype("auto", processor_features())


class Models:
    """Makes the models, a new one with each call.

    Raises:
        ConfigError: the embedded model isn't installed, or this processor can't run the format.
    """

    def embedded(self, dtype: Dtype, *, mixture: bool = False) -> LoadedModel:
        """The embedded model: its dense base, or the mixture that it was made into."""
        experts = ModelConfig.routed_experts if mixture else 0
        return load_model(ModelConfig(dtype=dtype, routed_experts=experts))

    def windowed(self) -> LoadedModel:
        """The dense base in the fastest format, most of its layers seeing a window only."""
        return load_model(ModelConfig(routed_experts=0, attention_window=WINDOW))

    def mixture(self, dtype: Dtype) -> LoadedModel:
        """The random mixture of `bench.peers.shapes`: the file that transformers loads as well."""
        return load_model(ModelConfig(model=str(random_checkpoint(MIXTURE)), dtype=dtype))

    def dense(self, dtype: Dtype) -> LoadedModel:
        """The random dense model of the same size."""
        return load_model(ModelConfig(model=str(random_checkpoint(DENSE)), dtype=dtype))


class TinyModels(Models):
    """Runs in milliseconds: to try out the measurements themselves."""

    def embedded(self, dtype: Dtype, *, mixture: bool = False) -> LoadedModel:
        return self.mixture(dtype) if mixture else self.dense(dtype)

    def windowed(self) -> LoadedModel:
        return _random(replace(_TINY_DENSE, windows=(0, 16), sinks=4), "auto")

    def mixture(self, dtype: Dtype) -> LoadedModel:
        return _random(TINY, dtype)

    def dense(self, dtype: Dtype) -> LoadedModel:
        return _random(_TINY_DENSE, dtype)


_TINY_DENSE = replace(TINY, experts=0, expert_width=0, active=0)


def _random(shape: DecoderConfig, dtype: Dtype) -> LoadedModel:
    decoder = quantise(random_decoder(shape, seed=0), resolve_dtype(dtype, processor_features()))
    return LoadedModel.of(decoder, embedded_tokenizer(), "random")


def matrix_bytes(loaded: LoadedModel) -> int:
    """Bytes of all matrices as they are kept for running, scales included, shared ones once."""
    tensors = dict[int, Tensor]()
    for name, tensor in (*loaded.decoder.named_parameters(), *loaded.decoder.named_buffers()):
        if not name.startswith(("rope.", "expert_tokens")) and not name.endswith("norm.weight_D"):
            tensors[tensor.data_ptr()] = tensor
    return sum(tensor.nbytes for tensor in tensors.values())
