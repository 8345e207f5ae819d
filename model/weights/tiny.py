"""A tiny random model with the embedded model's vocabulary, for tests and experiments; runs in milliseconds."""

from __future__ import annotations

from functools import lru_cache

import torch

from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.weights.experts import BIAS
from model.weights.files import embedded_path
from model.weights.gguf import GgufFile
from model.weights.loaded import LoadedModel
from model.weights.tokenizer import Tokenizer, tokenizer_from_gguf

TINY = DecoderConfig(
    vocab=49_152,
    layers=2,
    width=32,
    heads=4,
    kv_heads=2,
    head_width=8,
    shared_width=48,
    experts=4,
    expert_width=8,
    active=2,
    max_positions=2048,
)


def tiny_model(seed: int = 0, shape: DecoderConfig = TINY) -> LoadedModel:
    """A random float32 model with the embedded tokenizer. The same seed and shape give the same model.

    Raises:
        ConfigError: the package with the embedded tokenizer isn't installed.
    """
    return LoadedModel.of(random_decoder(shape, seed), embedded_tokenizer(), f"tiny-{seed}")


def random_decoder(shape: DecoderConfig, seed: int) -> Decoder:
    """A float32 decoder with random weights, scaled so that activations neither vanish nor explode."""
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(shape)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if name.endswith(BIAS):
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif name == "embedding.weight_VD":
                parameter.normal_(0.0, 1.0, generator=generator)
            else:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5, generator=generator)
    return decoder.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def embedded_tokenizer() -> Tokenizer:
    """The embedded model's tokenizer alone."""
    return tokenizer_from_gguf(GgufFile(embedded_path()).metadata)
