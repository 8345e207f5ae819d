"""The models that are measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from torch import Tensor

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

MIXTURE = DecoderConfig(
    vocab=49_152, layers=12, width=768, heads=12, kv_heads=12, head_width=64, shared_width=0,
    experts=64, expert_width=256, active=4, normalise=False, qk_norm="full", tied=False,
)  # fmt: skip
"""OLMoE's kind, about half a billion parameters."""


def fastest() -> Dtype:
    """The format that the engine takes by itself on this processor."""
    return resolve_dtype("auto", processor_features())


@dataclass(frozen=True)
class Models:
    """Makes the models; each call makes a new one.

    Attributes:
        mixture_shape: of the mixture that random weights are made for.
        dense_shape: of a dense model of the same total size.
    """

    mixture_shape: DecoderConfig
    dense_shape: DecoderConfig

    def embedded(self, dtype: Dtype, *, mixture: bool = False) -> LoadedModel:
        """The embedded model: its dense base, or the mixture that it was made into.

        Raises:
            ConfigError: it isn't installed, or this processor can't run the format.
        """
        experts = ModelConfig.routed_experts if mixture else 0
        return load_model(ModelConfig(dtype=dtype, routed_experts=experts))

    def windowed(self) -> LoadedModel:
        """The dense base in the fastest format, most of its layers seeing a window only."""
        return load_model(ModelConfig(routed_experts=0, attention_window=WINDOW))

    def mixture(self, dtype: Dtype) -> LoadedModel:
        """Random weights in the mixture's shape."""
        return _random(self.mixture_shape, dtype)

    def dense(self, dtype: Dtype) -> LoadedModel:
        """Random weights in the dense shape."""
        return _random(self.dense_shape, dtype)


class TinyModels(Models):
    """Runs in milliseconds: to try out the measurements themselves."""

    def __init__(self) -> None:
        super().__init__(TINY, replace(TINY, experts=0, expert_width=0, active=0))

    def embedded(self, dtype: Dtype, *, mixture: bool = False) -> LoadedModel:
        return self.mixture(dtype) if mixture else self.dense(dtype)

    def windowed(self) -> LoadedModel:
        return _random(replace(self.dense_shape, windows=(0, 16), sinks=4), "auto")


def _random(shape: DecoderConfig, dtype: Dtype) -> LoadedModel:
    decoder = quantise(random_decoder(shape, seed=0), resolve_dtype(dtype, processor_features()))
    return LoadedModel.of(decoder, embedded_tokenizer(), "random")


def dense_of_equal_size(mixture: DecoderConfig) -> DecoderConfig:
    """A dense shape with as many parameters as the mixture: one feed-forward as wide as all its experts together."""
    width = mixture.shared_width + mixture.experts * mixture.expert_width
    return replace(mixture, shared_width=width, experts=0, expert_width=0, active=0)


def matrix_bytes(loaded: LoadedModel) -> int:
    """Bytes of all matrices as they are kept for running, scales included, shared ones once."""
    tensors = dict[int, Tensor]()
    for name, tensor in (*loaded.decoder.named_parameters(), *loaded.decoder.named_buffers()):
        if not name.startswith(("rope.", "expert_tokens")) and not name.endswith("norm.weight_D"):
            tensors[tensor.data_ptr()] = tensor
    return sum(tensor.nbytes for tensor in tensors.values())
